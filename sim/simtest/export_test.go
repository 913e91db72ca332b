package simtest

import "testing"

// Elsewhere lets a run that is recorded be repeated at another date, as that of a *testing.T is.
func Elsewhere(t *testing.T) Option { return func(s *suite) { s.host = t } }
