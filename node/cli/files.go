package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app/files"
	"github.com/baluarte-bft/baluarte/node/cli/wrong"
	"github.com/baluarte-bft/baluarte/node/client"
)

// Files is the service files of node/app with its commands.
func Files() Service {
	return Service{Name: "files", New: files.New, SelfTest: selfTestFiles, Short: "Files with versions", Commands: func(s *Session) []*cobra.Command {
		return []*cobra.Command{
			filesStore(s, files.Create, "put", "Store a local file under a new name",
				"Stores the local file LOCAL as NAME. If there is a file of this name nothing changes, and the exit code is 4."),
			filesStore(s, files.Update, "update", "Store a local file as the next version of a file",
				"Stores the local file LOCAL as the next version of NAME. Without a file of this name the exit code is 3."),
			filesDelete(s), filesGet(s), filesList(s), filesHistory(s), filesUsage(s), filesMenu(s)}
	}}
}

const filesSteps = `
The file becomes visible as a whole or not at all: whatever fails on the way, what was there stays. --timeout bounds each
call to the cluster, not the whole transfer.`

// cabinet is the service files as its commands use it: over one client, call after call.
type cabinet struct {
	s       *Session
	ctx     context.Context // ends with the process
	client  *client.Client
	service *client.Service
	key     bft.ClientID
	close   func()
}

// openFiles connects. The caller closes it.
func (s *Session) openFiles() (*cabinet, error) {
	m, key, err := s.accessTo("files")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.background, s.timeout)
	defer cancel()
	c, end, err := s.dial(ctx, m, key)
	if err != nil {
		return nil, err
	}
	if err := s.reach(ctx, c, bft.Quorum); err != nil {
		end()
		return nil, err
	}
	return &cabinet{s, s.background, c, c.Service("files"), key.Public(), end}, nil
}

// invoke has an operation executed. The error of the service is in the result.
func (c *cabinet) invoke(op []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.s.timeout)
	defer cancel()
	result, err := c.service.Invoke(ctx, op)
	if err != nil {
		return nil, c.s.explain(err, c.client)
	}
	return result, nil
}

// ask asks a question; the answer reflects every operation that ended before. While others write it is ordered.
func (c *cabinet) ask(q []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.s.timeout)
	defer cancel()
	result, err := c.service.Query(ctx, q, client.Linearizable)
	if errors.Is(err, client.ErrContended) {
		result, err = c.service.Query(ctx, q, client.Ordered)
	}
	if err != nil {
		return nil, c.s.explain(err, c.client)
	}
	return result, nil
}

// chunk gets a chunk. Its digest says whether it is right, so a state of the past will do, if it has it.
func (c *cabinet) chunk(digest bft.Digest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.s.timeout)
	defer cancel()
	if result, err := c.service.Query(ctx, files.Chunk(digest), client.Stale); err == nil {
		if data, err := files.DecodeChunk(result, digest); err == nil {
			return data, nil
		}
	}
	result, err := c.ask(files.Chunk(digest))
	if err != nil {
		return nil, err
	}
	return files.DecodeChunk(result, digest)
}

// filesError gives an error of the service its exit code, and says what to do.
func filesError(err error) error {
	switch {
	case errors.Is(err, files.ErrNotFound):
		return Fail(CodeNotFound, "%w", err)
	case errors.Is(err, files.ErrExists):
		return Fail(CodeCompareFailed, "%w: use update to give it a new version; nothing was changed", err)
	case errors.Is(err, files.ErrQuota):
		return fmt.Errorf("%w; nothing was changed: delete files, or see files usage", err)
	}
	return err
}

// checkFileName refuses a name that the service would refuse, as bad usage.
func checkFileName(name string) error {
	if err := files.CheckName(name); err != nil {
		return usage("%v", err)
	}
	return nil
}

// runFiles makes the function of a command that works with the files.
func (s *Session) runFiles(f func(c *cabinet, args []string) error) func(*cobra.Command, []string) error {
	return s.Run(func(_ context.Context, args []string) error {
		c, err := s.openFiles()
		if err != nil {
			return err
		}
		defer c.close()
		return filesError(f(c, args))
	})
}

// nameAt wants n arguments, of which that at the place is the name of a file.
func nameAt(place, n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := wrong.Args(n, n)(cmd, args); err != nil {
			return err
		}
		return checkFileName(args[place])
	}
}

func filesStore(s *Session, mode files.Mode, verb, short, long string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: verb + " LOCAL NAME", Short: short, Long: long + filesSteps,
		Example: s.program.example("files " + verb + " report.pdf reports/2026.pdf"),
		Args:    nameAt(1, 2),
		RunE: s.Run(func(_ context.Context, args []string) error {
			local, err := openLocal(args[0]) // before anything is connected
			if err != nil {
				return err
			}
			defer local.Close()
			if err := checkFileSize(local); err != nil {
				return err
			}
			c, err := s.openFiles()
			if err != nil {
				return err
			}
			defer c.close()
			r, err := c.upload(mode, args[1], local)
			switch {
			case mode == files.Update && errors.Is(err, files.ErrNotFound):
				return Fail(CodeNotFound, "%w: use put to store a new file; nothing was changed", err)
			case err != nil:
				return filesError(err)
			}
			return s.printDone(&r, asJSON)
		}),
	}
	addFilesJSON(cmd, &asJSON)
	return cmd
}

func filesDelete(s *Session) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a file with all its versions",
		Long:    "Deletes a file with all its versions. Without a file of this name the exit code is 3.",
		Example: s.program.example("files delete reports/2026.pdf"),
		Args:    nameAt(0, 1),
		RunE: s.runFiles(func(c *cabinet, args []string) error {
			r, err := c.delete(args[0])
			if err != nil {
				return err
			}
			return s.printDone(&r, asJSON)
		}),
	}
	addFilesJSON(cmd, &asJSON)
	return cmd
}

func (c *cabinet) delete(name string) (files.Request, error) {
	result, err := c.invoke(files.Delete(name))
	if err != nil {
		return files.Request{}, err
	}
	return files.DecodeRequest(result)
}

func filesGet(s *Session) *cobra.Command {
	var asJSON, force bool
	var version uint64
	cmd := &cobra.Command{
		Use: "get NAME LOCAL", Short: "Write a file to a local file",
		Long: `Writes the present version of NAME, or the one that --version names, to the local file LOCAL, which must not be there
yet unless --force is given. Every part is checked against its digest. The content is written beside LOCAL and put in
its place when it is complete; LOCAL is never half a file. --timeout bounds each call to the cluster, not the whole
transfer.`,
		Example: s.program.example("files get reports/2026.pdf report.pdf", "files get --version 1 --force reports/2026.pdf report.pdf"),
		Args:    nameAt(0, 2),
		RunE: s.Run(func(_ context.Context, args []string) error {
			if err := checkTarget(args[1], force); err != nil {
				return err
			}
			c, err := s.openFiles()
			if err != nil {
				return err
			}
			defer c.close()
			info, err := c.download(args[0], version, args[1], force)
			if err != nil {
				return filesError(err)
			}
			return s.printGot(&info, args[1], asJSON)
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the local file if there is one")
	cmd.Flags().Uint64Var(&version, "version", 0, "get this version; 0 for the present one")
	addFilesJSON(cmd, &asJSON)
	return cmd
}

func filesList(s *Session) *cobra.Command {
	var asJSON bool
	var limit int
	var after string
	cmd := &cobra.Command{
		Use: "list", Short: "List the files",
		Long: `Prints the files in the order of their names. Pages of up to 1,000 files are each read at one moment; a change
between two pages shows in the later one.`,
		Example: s.program.example("files list", "files list --after reports/2025.pdf --limit 10 --json"),
		Args:    wrong.NoArgs,
		RunE: s.Run(func(context.Context, []string) error {
			if limit < 0 {
				return usage("--limit is %d: it must be positive, or 0 for all", limit)
			}
			if len(after) > files.MaxName {
				return usage("--after has %d bytes: a name has at most %d", len(after), files.MaxName)
			}
			c, err := s.openFiles()
			if err != nil {
				return err
			}
			defer c.close()
			return filesError(c.list(after, limit, s.fileTable(asJSON, "")))
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "print at most this many files; 0 for all")
	cmd.Flags().StringVar(&after, "after", "", "begin behind this name")
	addFilesJSON(cmd, &asJSON)
	return cmd
}

// list calls each for the files in order, page after page.
func (c *cabinet) list(after string, limit int, each func(*files.Info) error) error {
	for left := limit; ; {
		items := 0
		if limit > 0 {
			items = min(left, files.MaxItems)
		}
		result, err := c.ask(files.List(after, items))
		if err != nil {
			return err
		}
		page, more, err := files.DecodeList(result)
		if err != nil {
			return err
		}
		for i := range page {
			if err := each(&page[i]); err != nil {
				return err
			}
			after = page[i].Name
		}
		if left -= len(page); !more || limit > 0 && left <= 0 {
			return nil
		}
	}
}

func filesHistory(s *Session) *cobra.Command {
	var asJSON bool
	var limit int
	cmd := &cobra.Command{
		Use: "history [NAME]", Short: "Print the requests made, and the versions of a file",
		Long: `Prints the requests that changed files, in the order in which they were executed; with NAME those for it, and the
versions of it that are kept. A request that failed changed nothing and is not there. The cluster keeps the last
10,000 requests.`,
		Example: s.program.example("files history --limit 20", "files history reports/2026.pdf"),
		Args: func(cmd *cobra.Command, args []string) error {
			if err := wrong.Args(0, 1)(cmd, args); err != nil || len(args) == 0 {
				return err
			}
			return checkFileName(args[0])
		},
		RunE: s.Run(func(_ context.Context, args []string) error {
			if limit < 0 {
				return usage("--limit is %d: it must be positive, or 0 for all", limit)
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			c, err := s.openFiles()
			if err != nil {
				return err
			}
			defer c.close()
			return filesError(c.printHistory(name, limit, asJSON))
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "print only the newest of the requests, this many; 0 for all")
	addFilesJSON(cmd, &asJSON)
	return cmd
}

// history returns the last requests, of which there are limit at most, or all if it is 0.
func (c *cabinet) history(name string, limit int) (all []files.Request, err error) {
	for after, more := uint64(0), true; more; {
		result, err := c.ask(files.History(after, 0, name))
		if err != nil {
			return nil, err
		}
		page, err := files.DecodeHistory(result)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Requests...)
		after, more = page.Next, page.More
	}
	if limit > 0 && len(all) > limit {
		all = all[len(all)-limit:]
	}
	return all, nil
}

// versions returns the kept versions of a file; none if there is no such file.
func (c *cabinet) versions(name string) ([]files.Info, error) {
	result, err := c.ask(files.Versions(name))
	if err != nil {
		return nil, err
	}
	list, err := files.DecodeVersions(result)
	if errors.Is(err, files.ErrNotFound) {
		return nil, nil
	}
	return list, err
}

func filesUsage(s *Session) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "usage", Short: "Print what is used of the limits",
		Long:    "Prints what this client and all clients together use of the limits of the service.",
		Example: s.program.example("files usage"),
		Args:    wrong.NoArgs,
		RunE: s.runFiles(func(c *cabinet, _ []string) error {
			return c.printUsage(asJSON)
		}),
	}
	addFilesJSON(cmd, &asJSON)
	return cmd
}

func (c *cabinet) quota() (files.Quota, error) {
	result, err := c.ask(files.UsageOf(c.key))
	if err != nil {
		return files.Quota{}, err
	}
	return files.DecodeUsage(result)
}

func addFilesJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print objects, one a line")
}
