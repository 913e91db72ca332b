package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/discovery"
)

// impostor is the main function of a program that announces a cluster id which it has no key of, so many times: impostor NAME ID COUNT
// ADDRESS. It
// ends with its standard input.
func impostor() {
	err := announceFalsely()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func announceFalsely() error {
	id, err := crypto.ParseDigest(os.Args[2])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	for range count {
		key, err := crypto.GenerateKey(nil)
		if err != nil {
			return err
		}
		a, err := discovery.Announce(discovery.Announcement{Name: os.Args[1], Cluster: id, Key: key.Public(), Member: "r0", Addresses: os.Args[4:]})
		if err != nil {
			return err
		}
		defer a.Close()
	}
	fmt.Println("announced")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
