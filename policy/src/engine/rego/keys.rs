//! The names of the input's members, made once for a worker: a request shares them.
use postern_rego::Value;

macro_rules! keys {
    ($($name:ident = $text:literal,)*) => {
        /// One value a name.
        #[derive(Debug)]
        pub(super) struct Keys {
            $(pub(super) $name: Value,)*
        }

        impl Keys {
            pub(super) fn new() -> Self {
                Self { $($name: Value::from($text),)* }
            }
        }
    };
}

keys! {
    action = "action",
    address = "address",
    attributes = "attributes",
    authority = ":authority",
    body = "body",
    certificate_serial = "certificate_serial",
    claims = "claims",
    destination = "destination",
    encoding = "encoding",
    ext_authz = "ext_authz",
    headers = "headers",
    host = "host",
    http = "http",
    id = "id",
    metadata_context = "metadataContext",
    method = "method",
    now_ns = "now_ns",
    parsed_body = "parsed_body",
    parsed_path = "parsed_path",
    parsed_query = "parsed_query",
    path = "path",
    port_value = "portValue",
    postern = "postern",
    principal = "principal",
    protocol = "protocol",
    pseudo_method = ":method",
    pseudo_path = ":path",
    pseudo_scheme = ":scheme",
    raw_body = "rawBody",
    request = "request",
    route = "route",
    route_metadata_context = "routeMetadataContext",
    scheme = "scheme",
    seconds = "seconds",
    nanos = "nanos",
    service = "service",
    size = "size",
    sni = "sni",
    socket_address = "socketAddress",
    source = "source",
    source_principal = "source_principal",
    spiffe_id = "spiffe_id",
    time = "time",
    tls = "tls",
    tls_session = "tlsSession",
    token_issuer = "token_issuer",
    token_trust_domain = "token_trust_domain",
    transaction = "transaction",
    truncated_body = "truncated_body",
    trust_domain = "trust_domain",
    v3 = "v3",
    protojson = "protojson",
    version = "version",
    workload_token = "workload_token",
}
