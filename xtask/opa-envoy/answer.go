package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
)

// answerOf makes Envoy's answer of what the policy says. An error is an answer that is none: the call fails.
func answerOf(decision any) (*auth.CheckResponse, error) {
	switch decision := decision.(type) {
	case bool:
		return &auth.CheckResponse{Status: statusOf(decision)}, nil
	case map[string]any:
		return objectAnswer(decision)
	}
	return nil, fmt.Errorf("the policy says %T", decision)
}

func statusOf(allowed bool) *rpc.Status {
	if allowed {
		return &rpc.Status{Code: int32(codes.OK)}
	}
	return &rpc.Status{Code: int32(codes.PermissionDenied)}
}

func objectAnswer(decision map[string]any) (*auth.CheckResponse, error) {
	allowed, ok := decision["allowed"].(bool)
	if !ok {
		return nil, fmt.Errorf("`allowed` is %T", decision["allowed"])
	}
	answer := &auth.CheckResponse{Status: statusOf(allowed)}
	headers, err := headersOf(decision, "headers")
	if err != nil {
		return nil, err
	}
	if metadata, ok := decision["dynamic_metadata"]; ok {
		object, ok := metadata.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("`dynamic_metadata` is %T", metadata)
		}
		if answer.DynamicMetadata, err = structpb.NewStruct(object); err != nil {
			return nil, err
		}
	}
	if allowed {
		return answer, allow(answer, decision, headers)
	}
	return answer, deny(answer, decision, headers)
}

func allow(answer *auth.CheckResponse, decision map[string]any, headers []*core.HeaderValueOption) (err error) {
	ok := &auth.OkHttpResponse{Headers: headers}
	if ok.HeadersToRemove, err = textsOf(decision, "request_headers_to_remove"); err != nil {
		return err
	}
	if ok.ResponseHeadersToAdd, err = headersOf(decision, "response_headers_to_add"); err != nil {
		return err
	}
	if ok.QueryParametersToRemove, err = textsOf(decision, "query_parameters_to_remove"); err != nil {
		return err
	}
	if ok.QueryParametersToSet, err = parametersOf(decision["query_parameters_to_set"]); err != nil {
		return err
	}
	answer.HttpResponse = &auth.CheckResponse_OkResponse{OkResponse: ok}
	return nil
}

func deny(answer *auth.CheckResponse, decision map[string]any, headers []*core.HeaderValueOption) error {
	denied := &auth.DeniedHttpResponse{Headers: headers, Status: &kind.HttpStatus{Code: kind.StatusCode_Forbidden}}
	if body, ok := decision["body"]; ok {
		if denied.Body, ok = body.(string); !ok {
			return fmt.Errorf("`body` is %T", body)
		}
	}
	if status, ok := decision["http_status"]; ok {
		number, ok := status.(json.Number)
		if !ok {
			return fmt.Errorf("`http_status` is %T", status)
		}
		code, err := number.Int64()
		if err != nil {
			return err
		}
		if http.StatusText(int(code)) == "" || kind.StatusCode_name[int32(code)] == "" {
			return fmt.Errorf("no status is %d", code)
		}
		denied.Status.Code = kind.StatusCode(code)
	}
	answer.HttpResponse = &auth.CheckResponse_DeniedResponse{DeniedResponse: denied}
	return nil
}

func textsOf(decision map[string]any, name string) (all []string, err error) {
	value, ok := decision[name]
	if !ok {
		return nil, nil
	}
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("`%s` is %T", name, value)
	}
	for _, item := range items {
		text, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("`%s` holds %T", name, item)
		}
		all = append(all, text)
	}
	return all, nil
}

// pairs visits an object of name to text or texts.
func pairs(what string, value any, visit func(name, text string)) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("`%s` is %T", what, value)
	}
	for name, member := range object {
		items, ok := member.([]any)
		if !ok {
			items = []any{member}
		}
		for _, item := range items {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("`%s`: `%s` is %T", what, name, item)
			}
			visit(name, text)
		}
	}
	return nil
}

func headersOf(decision map[string]any, what string) (all []*core.HeaderValueOption, err error) {
	value, ok := decision[what]
	if !ok {
		return nil, nil
	}
	objects, ok := value.([]any)
	if !ok {
		objects = []any{value}
	}
	for _, object := range objects {
		err = pairs(what, object, func(name, text string) {
			all = append(all, &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: text}})
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func parametersOf(value any) (all []*core.QueryParameter, err error) {
	if value == nil {
		return nil, nil
	}
	err = pairs("query_parameters_to_set", value, func(name, text string) {
		all = append(all, &core.QueryParameter{Key: name, Value: text})
	})
	return all, err
}
