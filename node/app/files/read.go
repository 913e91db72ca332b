package files

import (
	"context"
	"encoding/binary"
)

// answer answers a query.
func (m *machine) answer(ctx context.Context, o *operation) []byte {
	switch o.kind {
	case askFile:
		return m.file(o)
	case askChunk:
		data, there := m.store.Get(at(keyData, o.digest[:]))
		if !there {
			return failed(refuse(ErrNotFound, "chunk %v not found", o.digest))
		}
		return append(append(make([]byte, 0, 1+len(data)), statusOK), data...)
	case askList:
		return m.list(ctx, o)
	case askVersions:
		return m.versions(o.name)
	case askHistory:
		return m.history(ctx, o)
	}
	t := m.totals()
	own := m.usage(o.client)
	return append(appendNumber(t.Usage.encode(own.encode(ok())), t.old), m.limits.encode()...)
}

func (m *machine) file(o *operation) []byte {
	number := o.version
	info, there := m.present(o.name)
	if !there {
		return failed(refuse(ErrNotFound, "file \"%s\" not found", o.name))
	}
	if number == 0 {
		number = info.Version
	}
	v, there := m.versionOf(o.name, number)
	if !there {
		return failed(refuse(ErrNotFound, "version %d of file \"%s\" not found: the present one is %d", number, o.name, info.Version))
	}
	return append(ok(), v.encode()...)
}

// list returns a page of the files with names above after.
func (m *machine) list(ctx context.Context, o *operation) []byte {
	page, items := append(ok(), 0), 0
	start := at(keyFile, []byte(o.after), []byte{0}) // the least key above it
	if o.after == "" {
		start = []byte{keyFile}
	}
	for _, value := range m.store.Scan(start, []byte{keyFile + 1}) {
		if items == o.items || ctx.Err() != nil {
			page[1] = 1
			break
		}
		page = append(page, value...)
		items++
	}
	return page
}

func (m *machine) versions(name string) []byte {
	numbers := m.numbers(name)
	if len(numbers) == 0 {
		return failed(refuse(ErrNotFound, "file \"%s\" not found", name))
	}
	b := append(ok(), 0)
	for _, n := range numbers {
		v, _ := m.versionOf(name, n)
		b = v.Info.encode(b)
	}
	return b
}

// history returns a page of requests. The history is bounded, so one with few for a name is looked through in one go.
func (m *machine) history(ctx context.Context, o *operation) []byte {
	var requests []byte
	items, more, next := 0, byte(0), o.number
	for key, value := range m.store.Scan(at(keyRequest, bigEndian(o.number+1)), []byte{keyRequest + 1}) {
		if items == o.items || ctx.Err() != nil {
			more = 1
			break
		}
		next = binary.BigEndian.Uint64(key[1:])
		f := &fields{rest: value}
		if r := f.request(); o.name == "" || r.Name == o.name {
			requests = append(requests, value...)
			items++
		}
	}
	b := append(appendNumber(ok(), next), more)
	return append(b, requests...)
}
