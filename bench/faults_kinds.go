package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/node/config"
)

// Bars of the project for single faults.
const (
	// barRecovery is how soon 90 % of the throughput is back after the primary was lost; the service is back within
	// twice the request timeout.
	barRecovery = 5 * time.Second
	// barBackup, barSlowPrimary and barForger are what is left of the throughput without a backup, with a primary that delays,
	// and beside a client that forges signatures.
	barBackup, barSlowPrimary, barForger = 0.8, 0.3, 0.5
)

// FaultInfo describes a fault that can be shown.
type FaultInfo struct {
	// Name is for FaultOptions, Short says what happens.
	Name  string `json:"name"`
	Short string `json:"does"`
}

// Faults are all faults that can be shown.
func Faults() []FaultInfo {
	all := make([]FaultInfo, len(faultKinds))
	for i, f := range faultKinds {
		all[i] = FaultInfo{f.name, f.short}
	}
	return all
}

func faultNamed(name string) (*faultKind, bool) {
	for _, f := range faultKinds {
		if f.name == name {
			return f, true
		}
	}
	return nil, false
}

// faultKind is one fault.
type faultKind struct {
	name, short string
	// backup: it strikes a backup, not the primary. target is whom it strikes, if that is no replica.
	backup bool
	target string
	// links: all connections go through proxies.
	links bool
	// flag is that of `bftbench replica` for the delay, if the fault is within a replica's process.
	flag string
	// delay chooses the delay, if there is one.
	delay func(*config.Manifest) time.Duration
	// tune chooses it anew when the fault begins, by how the replicas are, unless the caller has chosen.
	tune func(*faultRun, []replicaReport) time.Duration
	// changes: a view change is to be expected.
	changes    bool
	begin, end func(context.Context, *faultRun) error
	checks     func(*FaultResult, *config.Manifest)
}

func (f *faultKind) inProcess() bool { return f.flag != "" }

func (f *faultKind) attacks() bool { return f.target == theClient }

const theClient = "a client beside those of the load"

var faultKinds = []*faultKind{
	{name: "kill-primary", short: "the primary is killed, and started again later", changes: true,
		begin: killVictim, end: restartVictim, checks: checkPrimaryLost},
	{name: "kill-backup", short: "a backup is killed, and started again later", backup: true,
		begin: killVictim, end: restartVictim, checks: checkBackupLost},
	{name: "pause-primary", short: "the primary stops as it stands, and goes on later", changes: true,
		begin: pauseVictim, end: resumeVictim, checks: checkPrimaryLost},
	{name: "pause-backup", short: "a backup stops as it stands, and goes on later", backup: true,
		begin: pauseVictim, end: resumeVictim, checks: checkBackupLost},
	{name: "slow-primary", short: "the primary holds each pre-prepare back for as long as backups tolerate", flag: "--pre-prepare-delay",
		delay: floorDelay, tune: (*faultRun).toleratedDelay, begin: delayVictim, end: hurryVictim, checks: checkSlowPrimary},
	{name: "slow-disk", short: "each sync of the primary's disk takes longer", flag: "--sync-delay",
		delay: fixed(20 * time.Millisecond), begin: delayVictim, end: hurryVictim},
	{name: "slow-link", short: "all that the primary sends and receives takes longer on its way", links: true,
		delay: fixed(10 * time.Millisecond), begin: slowLinks, end: fastLinks},
	{name: "wan", short: "replicas and clients are on several continents", links: true, target: "all links",
		begin: spreadOut, end: fastLinks},
	{name: "bad-client", short: "a client sends forged signatures, as many as it can", target: theClient,
		begin: beginForging, end: endAttack, checks: checkForger},
	{name: "flood-client", short: "a client sends operations, as many as it can", target: theClient,
		begin: beginFlood, end: endAttack},
}

func fixed(d time.Duration) func(*config.Manifest) time.Duration {
	return func(*config.Manifest) time.Duration { return d }
}

// floorDelay is what backups always tolerate.
func floorDelay(m *config.Manifest) time.Duration { return time.Duration(m.Protocol.SuspectFloor) }

// toleratedDelay is a share of what backups may tolerate at most (rule 14). They let a request wait for d before they
// pass it on to the primary, and for d again before they leave it, and requests in the mean for much less. Within d falls
// also what an operation takes without the delay, which follows from throughput and outstanding operations, by
// Little's law.
func (r *faultRun) toleratedDelay(reports []replicaReport) time.Duration {
	d, mean := time.Duration(0), time.Duration(0)
	for i := range reports {
		if i == r.primary {
			continue
		}
		if v := time.Duration(reports[i].SuspectAfterMillis) * time.Millisecond; d == 0 || v < d {
			d = v
		}
		if v := time.Duration(reports[i].SuspectMeanMillis * float64(time.Millisecond)); mean == 0 || v < mean {
			mean = v
		}
	}
	if d == 0 {
		return r.delay // a program that does not tell
	}
	s := faultSeries{counts: r.load.counts()}
	now := time.Duration(r.load.now())
	delay := tolerable(d, s.between(now-r.fo.Before, now), r.o.Clients*r.o.Depth, r.share)
	if mean > 0 {
		delay = min(delay, time.Duration(r.share*float64(mean)))
	}
	return delay.Round(time.Millisecond)
}

// tolerable is a share of the delay that d allows, for a throughput and a number of outstanding operations; at least
// a tenth of d.
func tolerable(d time.Duration, rate float64, outstanding int, share float64) time.Duration {
	usual := 0.0
	if rate > 0 {
		usual = float64(outstanding) / rate
	}
	return max(d/10, time.Duration(share*(2*float64(d)-usual*float64(time.Second))))
}

func killVictim(_ context.Context, r *faultRun) error    { return r.nodes.kill(r.victim) }
func restartVictim(_ context.Context, r *faultRun) error { return r.nodes.start(r.victim) }
func pauseVictim(_ context.Context, r *faultRun) error   { return r.nodes.pause(r.victim, true) }
func resumeVictim(_ context.Context, r *faultRun) error  { return r.nodes.pause(r.victim, false) }
func delayVictim(_ context.Context, r *faultRun) error   { return r.nodes.control(r.victim, r.delay) }
func hurryVictim(_ context.Context, r *faultRun) error   { return r.nodes.control(r.victim, 0) }

// slowLinks delays all links of the victim, each way, those of its clients too.
func slowLinks(_ context.Context, r *faultRun) error {
	r.nodes.links.set(func(i, j int) time.Duration {
		if i == r.victim || j == r.victim {
			return r.delay
		}
		return 0
	})
	return nil
}

func fastLinks(_ context.Context, r *faultRun) error {
	r.nodes.links.set(func(int, int) time.Duration { return 0 })
	return nil
}

// wanMillis are the delays between places in one direction, in milliseconds: rounded halves of usual round trips between
// the east and the west of North America, western Europe, eastern Asia, South America, southern Asia and Australia.
var wanMillis = [][]int{
	{0, 32, 38, 78, 58, 95, 100},
	{32, 0, 68, 52, 88, 110, 70},
	{38, 68, 0, 105, 92, 60, 130},
	{78, 52, 105, 0, 130, 60, 52},
	{58, 88, 92, 130, 0, 150, 155},
	{95, 110, 60, 60, 150, 0, 75},
	{100, 70, 130, 52, 155, 75, 0},
}

// wanDelay is the delay from replica i to j of n, or of the clients, which are number n and live where the first
// replica does. Replicas are spread over the places in turn.
func wanDelay(i, j, n int) time.Duration {
	place := func(k int) int {
		if k == n {
			return 0
		}
		return k % len(wanMillis)
	}
	return time.Duration(wanMillis[place(i)][place(j)]) * time.Millisecond
}

func spreadOut(_ context.Context, r *faultRun) error {
	n := r.o.Nodes
	r.nodes.links.set(func(i, j int) time.Duration { return wanDelay(i, j, n) })
	return nil
}

func checkPrimaryLost(res *FaultResult, m *config.Manifest) {
	most := milliseconds(2 * time.Duration(m.Protocol.RequestTimeout))
	res.check("service resumes within two request timeouts", res.GapMS <= most && res.FirstMS >= 0, fmt.Sprintf("%.0f ms", res.GapMS), "%.0f ms", most)
	value := "never"
	if res.Recovery90MS >= 0 {
		value = fmt.Sprintf("%.0f ms", res.Recovery90MS)
	}
	res.check("90 % of the throughput is back", res.Recovery90MS >= 0 && res.Recovery90MS <= milliseconds(barRecovery), value, "%.0f ms", milliseconds(barRecovery))
}

func checkBackupLost(res *FaultResult, _ *config.Manifest) {
	res.checkShare("throughput without a backup", barBackup)
}

func checkSlowPrimary(res *FaultResult, _ *config.Manifest) {
	res.checkShare("throughput under a slow primary", barSlowPrimary)
	res.check("the primary stays in office, so that it is its delay that is seen", res.ViewAfter == res.ViewBefore,
		fmt.Sprintf("view %d to %d", res.ViewBefore, res.ViewAfter), "no view change")
}

func checkForger(res *FaultResult, _ *config.Manifest) {
	res.checkShare("throughput beside a client that forges", barForger)
	res.check("the client is quarantined", res.Attacker.CutOff > 0, fmt.Sprintf("cut off %d times", res.Attacker.CutOff), "at least once")
}

func (res *FaultResult) checkShare(name string, least float64) {
	res.check(name, res.DuringRatio >= least, fmt.Sprintf("%.0f %%", 100*res.DuringRatio), "at least %.0f %%", 100*least)
}
