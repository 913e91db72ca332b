package bft

// MaxFaulty is f, the number of Byzantine replicas that n replicas tolerate: ⌊(n−1)/3⌋.
func MaxFaulty(n int) int { return (n - 1) / 3 }

// Quorum is Q = ⌈(n+f+1)/2⌉, which is 2f+1 when n = 3f+1.
//
// Two quorums intersect in at least 2Q−n ≥ f+1 replicas, so at least one honest replica is in
// both and will not have said two things: that is safety. The n−f replicas that are not faulty
// form a quorum by themselves: n−f ≥ Q, for n ≥ 3f+1 gives 2(n−f) = n+(n−2f) ≥ n+f+1, and
// n−f is a whole number, so n−f ≥ ⌈(n+f+1)/2⌉: that is liveness. One fewer than Q would
// allow 2(Q−1)−n ≤ f: an intersection of liars only.
func Quorum(n int) int { return (n + MaxFaulty(n) + 2) / 2 }

// WeakQuorum is f+1: at least one of them is honest.
func WeakQuorum(n int) int { return MaxFaulty(n) + 1 }

// Primary is the replica that proposes in view v, of n.
func Primary(v View, n int) ReplicaID { return ReplicaID(uint64(v) % uint64(n)) }
