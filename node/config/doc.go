// Package config reads and writes what a cluster and its replicas are told by
// files: the manifest, which all replicas and clients share, the config of one
// replica, and the home directory that holds both beside the replica's key.
//
// Files are YAML and strictly validated: an unknown key, a value of the wrong
// kind or out of its bounds is refused, with the line where it stands. All keys,
// their defaults and units are listed in docs/configuration.md.
package config
