package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/baluarte-bft/baluarte/crypto"
)

// protocolVersion is the version of hellos and framing.
const protocolVersion = 1

// The two protocols, without the version that completes their ids.
const (
	replicaProtocol = "/baluarte/replica/"
	clientProtocol  = "/baluarte/client/"
)

const (
	magic      = "BLRT"
	helloBytes = 8 + len(crypto.Digest{})
)

// protocolID is the id of a protocol in a version.
func protocolID(prefix string, version uint16) protocol.ID {
	return protocol.ID(prefix + strconv.Itoa(int(version)))
}

// protocols selects either protocol in any version, so that a later version
// gets our refusal instead of multistream's bare "not available".
func protocols() *multistream.MultistreamMuxer[protocol.ID] {
	m := multistream.NewMultistreamMuxer[protocol.ID]()
	for _, prefix := range []protocol.ID{replicaProtocol, clientProtocol} {
		m.AddHandlerWithFunc(prefix, func(id protocol.ID) bool {
			return strings.HasPrefix(string(id), string(prefix))
		}, nil)
	}
	return m
}

// sayHello negotiates as the dialling side, on a fresh stream. A refusal comes
// back as a *Refusal.
func sayHello(st network.MuxedStream, prefix string, version uint16, cluster crypto.Digest, timeout time.Duration) error {
	if err := st.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	id := protocolID(prefix, version)
	if err := multistream.SelectProtoOrFail(id, st); err != nil {
		if errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}) {
			return fmt.Errorf("%w: the other end does not know %s", ErrWrongVersion, id)
		}
		return err
	}
	hello := make([]byte, 0, helloBytes)
	hello = append(hello, magic...)
	hello = binary.BigEndian.AppendUint16(hello, version)
	hello = append(hello, 0, 0)
	hello = append(hello, cluster[:]...)
	if _, err := st.Write(hello); err != nil {
		return err
	}
	var answer [8]byte
	if _, err := io.ReadFull(st, answer[:]); err != nil {
		return fmt.Errorf("no answer to hello: %w", err)
	}
	if string(answer[:4]) != magic {
		return fmt.Errorf("%w: answer without magic", ErrBadHello)
	}
	reason, err := readReason(st)
	if err != nil {
		return err
	}
	if code := answer[6]; code != codeAccepted {
		return refusalOf(code, reason)
	}
	return st.SetDeadline(time.Time{})
}

// hearHello negotiates as the accepting side up to the answer, which the
// caller gives once it has decided. An error that unwraps to one of those with
// a code is to be answered; any other one ends the connection in silence.
func (e *endpoint) hearHello(st network.MuxedStream) (prefix string, err error) {
	if err := st.SetDeadline(time.Now().Add(e.limits.HelloTimeout)); err != nil {
		return "", err
	}
	id, _, err := e.protocols.Negotiate(st)
	if err != nil {
		return "", err
	}
	prefix = replicaProtocol
	if strings.HasPrefix(string(id), clientProtocol) {
		prefix = clientProtocol
	}
	if asked := strings.TrimPrefix(string(id), prefix); asked != strconv.Itoa(int(e.version)) {
		return prefix, &Refusal{Err: ErrWrongVersion,
			Reason: fmt.Sprintf("this replica speaks version %d, not %s", e.version, printable(asked))}
	}
	var hello [helloBytes]byte
	if _, err := io.ReadFull(st, hello[:]); err != nil {
		return prefix, err
	}
	switch version := binary.BigEndian.Uint16(hello[4:]); {
	case string(hello[:4]) != magic:
		return prefix, &Refusal{Err: ErrBadHello, Reason: "no magic"}
	case version != e.version:
		return prefix, &Refusal{Err: ErrWrongVersion,
			Reason: fmt.Sprintf("this replica speaks version %d, not %d", e.version, version)}
	case hello[6] != 0 || hello[7] != 0:
		return prefix, &Refusal{Err: ErrBadHello, Reason: "reserved bytes are not zero"}
	case crypto.Digest(hello[8:]) != e.cluster:
		return prefix, &Refusal{Err: ErrWrongCluster,
			Reason: fmt.Sprintf("this replica belongs to cluster %s", e.cluster.Short())}
	}
	return prefix, nil
}

// answerHello sends the verdict. After a refusal it waits, within bounds, for
// the other end to hang up, because closing first could overtake the reason.
func (e *endpoint) answerHello(st network.MuxedStream, refusal *Refusal) error {
	answer := make([]byte, 0, 64)
	answer = append(answer, magic...)
	answer = binary.BigEndian.AppendUint16(answer, e.version)
	if refusal == nil {
		answer = append(answer, codeAccepted, 0, 0, 0)
		if _, err := st.Write(answer); err != nil {
			return err
		}
		return st.SetDeadline(time.Time{})
	}
	reason := printable(refusal.Reason)
	answer = append(answer, codeOf(refusal.Err), 0)
	answer = binary.BigEndian.AppendUint16(answer, uint16(len(reason)))
	answer = append(answer, reason...)
	if _, err := st.Write(answer); err != nil {
		return err
	}
	return awaitHangUp(st)
}

// awaitHangUp ends our half of a stream and waits up to a second for the other
// end to close its own.
func awaitHangUp(st network.MuxedStream) error {
	if err := st.CloseWrite(); err != nil {
		return err
	}
	drain(st)
	return nil
}

// drain reads what is still under way, not an endless stream.
func drain(st network.MuxedStream) {
	if err := st.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return
	}
	var sink [4 << 10]byte
	for range 256 {
		if _, err := st.Read(sink[:]); err != nil {
			return
		}
	}
}
