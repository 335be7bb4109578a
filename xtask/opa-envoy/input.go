package main

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// inputOf makes the policy's input of what Envoy asks: its message, walked, and what the plugin adds to it.
func inputOf(ask *auth.CheckRequest) (map[string]any, error) {
	http := ask.GetAttributes().GetRequest().GetHttp()
	input := walked(ask.ProtoReflect())
	input["version"] = map[string]any{"ext_authz": "v3", "encoding": "protojson"}
	before, query, _ := strings.Cut(http.GetPath(), "?")
	path, err := url.PathUnescape(before)
	if err != nil {
		return nil, err
	}
	segments := strings.Split(strings.TrimLeft(path, "/"), "/")
	input["parsed_path"] = segments
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	input["parsed_query"] = map[string][]string(values)
	body, truncated, err := parsedBody(http)
	if err != nil {
		return nil, err
	}
	input["parsed_body"] = body
	input["truncated_body"] = truncated
	if principal := ask.GetAttributes().GetSource().GetPrincipal(); principal != "" {
		input["source_principal"] = principal
	}
	return input, nil
}

// walked turns a message into an object of the fields that are set, by their JSON names; enumerations stay numbers.
func walked(message protoreflect.Message) map[string]any {
	if free, ok := message.Interface().(interface{ AsMap() map[string]any }); ok {
		return free.AsMap()
	}
	object := map[string]any{}
	for field, value := range message.Range {
		object[field.JSONName()] = fieldValue(field, value)
	}
	return object
}

func fieldValue(field protoreflect.FieldDescriptor, value protoreflect.Value) any {
	switch {
	case field.IsMap():
		members := map[string]any{}
		for key, member := range value.Map().Range {
			members[key.String()] = scalar(field.MapValue(), member)
		}
		return members
	case field.IsList():
		items := make([]any, 0, value.List().Len())
		for index := range value.List().Len() {
			items = append(items, scalar(field, value.List().Get(index)))
		}
		return items
	}
	return scalar(field, value)
}

func scalar(field protoreflect.FieldDescriptor, value protoreflect.Value) any {
	if field.Kind() == protoreflect.MessageKind {
		return walked(value.Message())
	}
	return value.Interface()
}

// parsedBody reads the body by its content type: the value, and whether a part of the body is missing.
func parsedBody(http *auth.AttributeContext_HttpRequest) (any, bool, error) {
	headers := http.GetHeaders()
	if headers["x-envoy-auth-partial-body"] == "true" {
		return nil, true, nil
	}
	body := http.GetBody()
	if body == "" {
		body = string(http.GetRawBody())
	}
	kind := headers["content-type"]
	read := map[string]func(string, string) (any, error){
		"application/json":                  fromJSON,
		"application/x-www-form-urlencoded": fromForm,
		"multipart/form-data":               fromParts,
	}
	for _, name := range []string{"application/json", "application/grpc", "application/x-www-form-urlencoded", "multipart/form-data"} {
		if !strings.Contains(kind, name) {
			continue
		}
		// gRPC takes a descriptor, which this one is never given.
		if read[name] == nil || body == "" {
			return nil, false, nil
		}
		if length, ok := headers["content-length"]; ok {
			announced, err := strconv.ParseInt(length, 10, 64)
			if err != nil {
				return nil, false, err
			}
			if announced > int64(len(body)) {
				return nil, true, nil
			}
		}
		value, err := read[name](body, kind)
		return value, false, err
	}
	return nil, false, nil
}

func fromJSON(body, _ string) (value any, err error) {
	err = util.UnmarshalJSON([]byte(body), &value)
	return value, err
}

func fromForm(body, _ string) (any, error) {
	values, err := url.ParseQuery(body)
	return map[string][]string(values), err
}

func fromParts(body, kind string) (any, error) {
	_, parameters, err := mime.ParseMediaType(kind)
	if err != nil {
		return nil, err
	}
	boundary, ok := parameters["boundary"]
	if !ok {
		return nil, nil
	}
	values := map[string][]any{}
	reader := multipart.NewReader(strings.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		if part.FormName() == "" {
			continue
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		var value any = string(content)
		if strings.Contains(part.Header.Get("Content-Type"), "application/json") {
			if value, err = fromJSON(string(content), ""); err != nil {
				return nil, fmt.Errorf("part %q: %w", part.FormName(), err)
			}
		}
		values[part.FormName()] = append(values[part.FormName()], value)
	}
}
