package exec

// Where a session is linked, see session.links.
const (
	inTable = iota
	inOwner
)

type links struct{ prev, next *session }

// list is a list of sessions that share the links of one kind, the one to be dropped first
// at its head. Links inside the sessions make use, the most frequent change, free of
// allocation and searching.
type list struct {
	kind       int
	head, tail *session
	len        int
}

// push appends s, which is in no list of this kind.
func (l *list) push(s *session) {
	s.links[l.kind] = links{prev: l.tail}
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.links[l.kind].next = s
	}
	l.tail = s
	l.len++
}

// remove takes s, which is in l, out of it.
func (l *list) remove(s *session) {
	at := s.links[l.kind]
	if at.prev == nil {
		l.head = at.next
	} else {
		at.prev.links[l.kind].next = at.next
	}
	if at.next == nil {
		l.tail = at.prev
	} else {
		at.next.links[l.kind].prev = at.prev
	}
	s.links[l.kind] = links{}
	l.len--
}

// toTail moves s, which is in l, to the end.
func (l *list) toTail(s *session) {
	if l.tail != s {
		l.remove(s)
		l.push(s)
	}
}
