package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/node/client"
)

// scrapeTimeout bounds the question for one replica's status or metrics.
const scrapeTimeout = 5 * time.Second

// replicaReport is what the harness reads of the report of a replica on itself, see package node.
type replicaReport struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	HTTP    string `json:"http"`
	Version string `json:"version"`
	View    uint64 `json:"view"`
	State   string `json:"state"`
	// SuspectAfterMillis is d of rule 14.
	SuspectAfterMillis int64 `json:"suspect_after_millis"`
	// SuspectMeanMillis is what is tolerated in the mean.
	SuspectMeanMillis float64 `json:"suspect_mean_millis"`

	local bool // a process of this machine
}

// askReplicas asks every replica for its report, through a client of its own. Those that do not answer
// have only their name, and are counted.
func askReplicas(ctx context.Context, observer *client.Client, c *cluster) (reports []replicaReport, silent int) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	statuses := observer.Status(ctx)
	reports = make([]replicaReport, len(statuses))
	for i, s := range statuses {
		r := &reports[i]
		if s.Report == nil || json.Unmarshal(s.Report, r) != nil {
			silent++
			*r = replicaReport{}
		}
		r.ID, r.Name = s.ID, s.Name
		host, _, err := net.SplitHostPort(c.manifest.Members[i].Addresses[0])
		ip := net.ParseIP(host)
		r.local = r.PID != 0 && err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
		// The port of HTTP is on the replica's own loopback address.
		if !r.local {
			r.HTTP = ""
		}
	}
	return reports, silent
}

// processorTime is what a process has used: in its own code, and in the kernel for it.
type processorTime struct{ user, system time.Duration }

func (t processorTime) sum() time.Duration { return t.user + t.system }

func (t processorTime) since(before processorTime) processorTime {
	return processorTime{user: t.user - before.user, system: t.system - before.system}
}

// sample is what the processes had used at one moment. A time is missing where the system does not tell.
type sample struct {
	own     processorTime
	ownOK   bool
	machine time.Duration
	all     bool // machine is known
	process []processorTime
	known   []bool
	metrics []map[string]float64 // by replica; nil if it serves none
}

// takeSample reads the clocks of the processes first, and then the metrics, which takes longer.
func takeSample(ctx context.Context, replicas []replicaReport) sample {
	s := sample{process: make([]processorTime, len(replicas)), known: make([]bool, len(replicas)), metrics: make([]map[string]float64, len(replicas))}
	s.own, s.ownOK = ownTime()
	for i := range replicas {
		if replicas[i].local {
			s.process[i], s.known[i] = processTime(replicas[i].PID)
		}
	}
	s.machine, s.all = machineTime()
	var scrapes sync.WaitGroup
	for i := range replicas {
		if replicas[i].HTTP != "" {
			scrapes.Go(func() { s.metrics[i] = scrape(ctx, replicas[i].HTTP) })
		}
	}
	scrapes.Wait()
	return s
}

// scrape reads the metrics of one replica, or nil.
func scrape(ctx context.Context, address string) map[string]float64 {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	m, err := parseMetrics(resp.Body)
	if err != nil {
		return nil
	}
	return m
}

// parseMetrics reads the text format of Prometheus: sums by name, over all labels.
func parseMetrics(r io.Reader) (map[string]float64, error) {
	sums := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(line, " ")
		if at := strings.IndexByte(line, '{'); at >= 0 {
			// Values of labels may hold spaces, and these of ours hold no braces.
			end := strings.LastIndexByte(line, '}')
			if end < at {
				return nil, fmt.Errorf("metrics: line %q has no end of labels", line)
			}
			name, rest, ok = line[:at], strings.TrimSpace(line[end+1:]), true
		}
		value, _, _ := strings.Cut(rest, " ")
		v, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("metrics: line %q has no value", line)
		}
		sums[name] += v
	}
	return sums, lines.Err()
}
