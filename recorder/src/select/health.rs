//! Which entries are health checks.

use regress_protocols::http1::Message;

/// Paths that are asked for by GET or HEAD to see whether a service works.
const PATHS: [&str; 18] = [
    "/health",
    "/healthz",
    "/health/live",
    "/health/ready",
    "/health/liveness",
    "/health/readiness",
    "/_health",
    "/livez",
    "/readyz",
    "/live",
    "/ready",
    "/liveness",
    "/readiness",
    "/-/healthy",
    "/-/ready",
    "/actuator/health",
    "/actuator/health/liveness",
    "/actuator/health/readiness",
];

/// How those begin to call themselves that do nothing but check.
const CHECKERS: [&[u8]; 4] = [b"kube-probe/", b"ELB-HealthChecker/", b"GoogleHC/", b"Consul Health Check"];

/// The health service of gRPC.
const GRPC: &str = "/grpc.health.v1.Health/";

/// Whether this is a request of a health check.
pub(super) fn is_health_check(request: &Message) -> bool {
    let path = request.path();
    let asks = matches!(request.method(), "GET" | "HEAD");
    let checker = request.header("user-agent");
    (asks && PATHS.contains(&&*path))
        || path.starts_with(GRPC)
        || checker.is_some_and(|agent| CHECKERS.iter().any(|checker| agent.starts_with(checker)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_told_by_path_and_by_who_asks() {
        let request = |method, target, agent| Message::request(method, target, &[("User-Agent", agent)], "");
        assert!(is_health_check(&request("GET", "/healthz?verbose", "curl")));
        assert!(is_health_check(&request("HEAD", "/health", "curl")));
        assert!(is_health_check(&request("GET", "/", "kube-probe/1.31")));
        assert!(is_health_check(&request("POST", "/grpc.health.v1.Health/Check", "grpc-go")));
        assert!(!is_health_check(&request("POST", "/health", "curl")));
        assert!(!is_health_check(&request("GET", "/healthy-food", "curl")));
        assert!(!is_health_check(&request("GET", "/orders", "not kube-probe/1")));
    }
}
