// Package bftpb holds the wire format of Baluarte, version 1, generated from baluarte.proto.
// Package bft alone uses it: what it gives to others are its own types.
package bftpb

//go:generate go tool -modfile=../../.tools/go.mod buf generate
