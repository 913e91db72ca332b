package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

type object = map[string]any

// description is openapi.json.
var description = sync.OnceValue(func() object {
	var d object
	if err := json.Unmarshal(openAPIText, &d); err != nil {
		panic(err)
	}
	return d
})

// resolve follows a reference.
func resolve(t testing.TB, v any) object {
	t.Helper()
	o, _ := v.(object)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	at := any(description())
	for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, _ := at.(object)
		if at, ok = m[step]; !ok {
			t.Fatalf("openapi.json: %s leads nowhere", ref)
		}
	}
	return at.(object)
}

// TestDescriptionHasAllRoutes: each route is described with its parameters and body, nothing else is, and every
// reference leads somewhere.
func TestDescriptionHasAllRoutes(t *testing.T) {
	paths := description()["paths"].(object)
	described := map[string]bool{}
	ids := map[any]bool{}
	for path, item := range paths {
		for method := range item.(object) {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	for _, r := range routes {
		path := strings.Replace(r.pattern, "...", "", 1)
		name := r.method + " " + path
		item, _ := paths[path].(object)
		op, _ := item[strings.ToLower(r.method)].(object)
		if op == nil {
			t.Errorf("%s is not described", name)
			continue
		}
		delete(described, name)
		if id := op["operationId"]; id == nil || ids[id] || op["summary"] == nil || op["tags"] == nil {
			t.Errorf("%s: operation id %v stands twice, or something is missing", name, id)
		}
		ids[op["operationId"]] = true
		headers := checkParameters(t, &r, item, op)
		if once := slices.Contains(r.params, "receipt") && !r.transfer; (headers == 2) != once {
			t.Errorf("%s: described with %d headers, may be repeated: %v", name, headers, once)
		}
		if (op["requestBody"] != nil) != (r.body != noBody) {
			t.Errorf("%s: described with a body: %v", name, op["requestBody"] != nil)
		}
		if _, open := op["security"]; open != r.open {
			t.Errorf("%s: described as open: %v", name, open)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		t.Errorf("%s is described, and does not exist", name)
	}
	checkReferences(t)
}

// checkParameters compares the described parameters of a route with its own, and returns how many headers are described.
func checkParameters(t *testing.T, r *route, item, op object) (headers int) {
	path := strings.Replace(r.pattern, "...", "", 1)
	name := r.method + " " + path
	var query, inPath []string
	shared, _ := item["parameters"].([]any)
	own, _ := op["parameters"].([]any)
	for _, p := range slices.Concat(shared, own) {
		switch o := resolve(t, p); o["in"] {
		case "query":
			query = append(query, o["name"].(string))
		case "path":
			inPath = append(inPath, "{"+o["name"].(string)+"}")
		case "header":
			headers++
		default:
			t.Errorf("%s: a parameter in %v", name, o["in"])
		}
	}
	want := slices.Sorted(slices.Values(r.params))
	if slices.Sort(query); !slices.Equal(query, want) {
		t.Errorf("%s: described with %v, it has %v", name, query, want)
	}
	for _, p := range inPath {
		if !strings.Contains(path, p) {
			t.Errorf("%s has no %s", name, p)
		}
	}
	if strings.Count(path, "{") != len(inPath) {
		t.Errorf("%s: of its path %v is described", name, inPath)
	}
	return headers
}

// checkReferences: every reference leads somewhere.
func checkReferences(t *testing.T) {
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case object:
			resolve(t, x)
			for _, v := range x {
				walk(v)
			}
		case []any:
			for _, v := range x {
				walk(v)
			}
		}
	}
	walk(description())
}

// checkDescribed fails the test unless an answer is one that openapi.json describes for the request.
func checkDescribed(t testing.TB, method, path string, a *answer) {
	t.Helper()
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op := operationFor(method, path)
	if op == nil { // nothing is there
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d, and it is not described", method, path, a.status)
		}
		op = object{"responses": object{}}
	}
	responses := op["responses"].(object)
	r := responses[fmt.Sprint(a.status)]
	if r == nil && a.status >= 400 {
		r = object{"$ref": "#/components/responses/Error"}
	}
	response := resolve(t, r)
	if response == nil {
		t.Errorf("%s %s: status %d is not described", method, path, a.status)
		return
	}
	content, _ := resolve(t, response)["content"].(object)
	if media, _ := content["application/json"].(object); media != nil && len(a.body) > 0 {
		var v any
		if err := json.Unmarshal(a.body, &v); err != nil {
			t.Errorf("%s %s: %v in %q", method, path, err, a.body)
			return
		}
		if err := fits(t, resolve(t, media["schema"]), v); err != nil {
			t.Errorf("%s %s: %s: %v", method, path, a.body, err)
		}
	}
}

// operationFor is what describes a request, or nil.
func operationFor(method, path string) object {
	segments := strings.Split(path, "/")
	var best object
	for pattern, item := range description()["paths"].(object) {
		op, _ := item.(object)[strings.ToLower(method)].(object)
		parts := strings.Split(pattern, "/")
		rest := strings.HasSuffix(pattern, "/{name}")
		if op == nil || len(parts) != len(segments) && !(rest && len(segments) > len(parts)) {
			continue
		}
		same := true
		for i, part := range parts {
			same = same && (part == segments[i] || strings.HasPrefix(part, "{"))
		}
		if same && (best == nil || !strings.Contains(pattern, "{")) {
			best = op
		}
	}
	return best
}

// fits holds a value against a schema: of the keywords, those that openapi.json uses for answers.
func fits(t testing.TB, schema object, v any) error {
	t.Helper()
	kind, _ := schema["type"].(string)
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%v is none of %v", v, enum)
	}
	switch x := v.(type) {
	case object:
		properties, _ := schema["properties"].(object)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := x[name.(string)]; !ok {
				return fmt.Errorf("%v is missing", name)
			}
		}
		for name, value := range x {
			if properties[name] == nil {
				if schema["additionalProperties"] == false {
					return fmt.Errorf("%s is not described", name)
				}
				continue
			}
			if err := fits(t, resolve(t, properties[name]), value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return kindIs(kind, "object")
	case []any:
		for _, item := range x {
			if err := fits(t, resolve(t, schema["items"]), item); err != nil {
				return err
			}
		}
		return kindIs(kind, "array")
	case string:
		return kindIs(kind, "string")
	case bool:
		return kindIs(kind, "boolean")
	case float64:
		return kindIs(kind, "integer")
	}
	return fmt.Errorf("%v of type %T", v, v)
}

func kindIs(want, got string) error {
	if want != got {
		return fmt.Errorf("it is of type %s, described as %q", got, want)
	}
	return nil
}
