package bftpb

// Strict tells whether a decoded message has only fields that this version knows, at every
// depth. A field that one build reads and another ignores would let them disagree on what a
// signature means.

// Strict reports whether m has no unknown fields.
func (m *Envelope) Strict() bool { return m != nil && len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Bundle) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Request) Strict() bool { return m != nil && len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Header) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Body) Strict() bool { return m == nil || len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *PrePrepare) Strict() bool {
	return len(m.unknownFields) == 0 && m.Header.Strict() && m.Body.Strict()
}

// Strict reports whether m has no unknown fields.
func (m *Vote) Strict() bool { return m != nil && len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Votes) Strict() bool { return len(m.unknownFields) == 0 && allStrict(m.Votes) }

// Strict reports whether m has no unknown fields.
func (m *Checkpoint) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Prepared) Strict() bool { return m != nil && len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *ViewChange) Strict() bool {
	return len(m.unknownFields) == 0 && allStrict(m.Prepared) && allStrict(m.Envelopes)
}

// Strict reports whether m has no unknown fields.
func (m *ViewChangeRef) Strict() bool { return m != nil && len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *NewView) Strict() bool {
	return len(m.unknownFields) == 0 && allStrict(m.ViewChanges) && allStrict(m.PrePrepares)
}

// Strict reports whether m has no unknown fields.
func (m *Status) Strict() bool { return len(m.unknownFields) == 0 && allStrict(m.Newest) }

// Strict reports whether m has no unknown fields.
func (m *Fetch) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Committed) Strict() bool {
	return m != nil && len(m.unknownFields) == 0 && m.Content.Strict() && allStrict(m.Bundles) && allStrict(m.Votes)
}

// Strict reports whether m has no unknown fields.
func (m *StatePart) Strict() bool { return m == nil || len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Data) Strict() bool {
	return len(m.unknownFields) == 0 && allStrict(m.Bundles) && allStrict(m.Bodies) && allStrict(m.Committed) &&
		m.Part.Strict() && allStrict(m.Checkpoint) && allStrict(m.ViewChanges)
}

// Strict reports whether m has no unknown fields.
func (m *Reply) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Busy) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Query) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *Answer) Strict() bool { return len(m.unknownFields) == 0 }

// Strict reports whether m has no unknown fields.
func (m *PreparedRecord) Strict() bool {
	return len(m.unknownFields) == 0 && m.Header.Strict() && allStrict(m.Votes)
}

// Strict reports whether m has no unknown fields.
func (m *CheckpointRecord) Strict() bool { return len(m.unknownFields) == 0 && allStrict(m.Votes) }

func allStrict[M interface{ Strict() bool }](ms []M) bool {
	for _, m := range ms {
		if !m.Strict() {
			return false
		}
	}
	return true
}
