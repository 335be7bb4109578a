// An external authorizer for Envoy that decides by OPA's own engine and speaks the contract of the OPA-Envoy plugin. It
// takes the plugin's command line, so that the plugin itself can stand in its place.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	text "strings"
)

type server struct {
	auth.UnimplementedAuthorizationServer
	query rego.PreparedEvalQuery
}

// Check answers one question of Envoy's.
func (s *server) Check(ctx context.Context, ask *auth.CheckRequest) (*auth.CheckResponse, error) {
	input, err := inputOf(ask)
	if err != nil {
		return badRequest(err), nil
	}
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	results, err := s.query.Eval(ctx, rego.EvalParsedInput(value))
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	if len(results) != 1 {
		return nil, status.Error(codes.Unknown, "the decision is undefined")
	}
	answer, err := answerOf(results[0].Expressions[0].Value)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	return answer, nil
}

// badRequest is the answer to a request of which no input can be made.
func badRequest(err error) *auth.CheckResponse {
	denied := &auth.DeniedHttpResponse{
		Status: &kind.HttpStatus{Code: kind.StatusCode_BadRequest},
		Body:   fmt.Sprintf("request_parse_error: %s", err),
	}
	return &auth.CheckResponse{
		Status:       statusOf(false),
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied},
	}
}

// settings reads `run --server … --set plugins.envoy_ext_authz_grpc.addr=… --set plugins.envoy_ext_authz_grpc.path=…
// file…`; whatever else the plugin can be told is passed over.
func settings(arguments []string) (address, path string, files []string) {
	const ours = "plugins.envoy_ext_authz_grpc."
	for len(arguments) > 0 {
		word := arguments[0]
		arguments = arguments[1:]
		switch {
		case word == "--set" && len(arguments) > 0:
			name, value, _ := text.Cut(arguments[0], "=")
			arguments = arguments[1:]
			switch name {
			case ours + "addr":
				address = text.TrimPrefix(value, "grpc://")
			case ours + "path":
				path = value
			}
		case text.HasSuffix(word, ".rego"):
			files = append(files, word)
		}
	}
	return address, path, files
}

// reference is the document at a path; a part that is a number is a number.
func reference(path string) string {
	ref := ast.Ref{ast.DefaultRootDocument}
	for part := range text.SplitSeq(path, "/") {
		if number, err := strconv.Atoi(part); err == nil {
			ref = append(ref, ast.IntNumberTerm(number))
		} else if part != "" {
			ref = append(ref, ast.StringTerm(part))
		}
	}
	return ref.String()
}

func main() {
	address, path, files := settings(os.Args[1:])
	query, err := rego.New(rego.Query(reference(path)), rego.Load(files, nil)).PrepareForEval(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	grpcServer := grpc.NewServer()
	auth.RegisterAuthorizationServer(grpcServer, &server{query: query})
	reflection.Register(grpcServer)
	log.Fatal(grpcServer.Serve(listener))
}
