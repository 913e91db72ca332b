package client

import "context"

// Request is an operation, with what its caller wants besides its result.
type Request struct {
	// Op is the operation.
	Op []byte
}

// Response is what became of a Request.
type Response struct {
	// Value is the service's answer.
	Value []byte
}

// Do has an operation executed, as Invoke.
func (s *Service) Do(ctx context.Context, r Request) (Response, error) {
	value, err := s.Invoke(ctx, r.Op)
	return Response{Value: value}, err
}
