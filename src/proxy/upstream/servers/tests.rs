use super::*;

fn server(host: &str, port: u16) -> Server {
    Server::cleartext(host, port)
}

fn error() -> pingora::BError {
    Error::new(pingora::ErrorType::ConnectRefused)
}

fn config(servers: &[Server]) -> Arc<Config> {
    Arc::new(Config::new(Vec::new(), servers.to_vec()))
}

/// Servers on this machine, and the configuration that names them.
fn upstreams(ports: &[u16]) -> Upstreams {
    let servers: Vec<Server> = ports.iter().map(|port| server("127.0.0.1", *port)).collect();
    let config = config(&servers);
    let upstreams = Upstreams::new(&config);
    // It is in use as long as the process runs.
    std::mem::forget(config);
    upstreams
}

fn next(upstreams: &Upstreams, attempts: &mut Attempts) -> Option<u16> {
    next_of(upstreams, attempts, &upstreams.newest().config.upgrade().unwrap())
}

fn next_of(upstreams: &Upstreams, attempts: &mut Attempts, config: &Arc<Config>) -> Option<u16> {
    upstreams.next(attempts, config).map(|server| server.port())
}

/// The ports of the servers in rotation.
fn in_rotation(upstreams: &Upstreams) -> Vec<u16> {
    let now = upstreams.now();
    let endpoints = upstreams.endpoints();
    endpoints.iter().filter(|e| e.is_healthy(now)).map(|e| e.address.port()).collect()
}

#[test]
fn servers_take_turns() {
    let upstreams = upstreams(&[1, 2, 3]);
    let taken: Vec<_> =
        (0..6).map(|_| next(&upstreams, &mut Attempts::default()).unwrap()).collect();
    assert_eq!(taken, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_request_tries_each_server_once() {
    let upstreams = upstreams(&[1, 2]);
    let mut attempts = Attempts::default();
    assert!(next(&upstreams, &mut attempts).is_some());
    assert!(upstreams.refused(&mut attempts, &error()));
    assert!(next(&upstreams, &mut attempts).is_some());
    assert!(!upstreams.refused(&mut attempts, &error()));
    assert_eq!(next(&upstreams, &mut attempts), None);
}

#[test]
fn a_server_that_refused_is_skipped_while_others_serve() {
    let upstreams = upstreams(&[1, 2]);
    let mut attempts = Attempts::default();
    let mut other = Attempts::default();
    assert_eq!(next(&upstreams, &mut attempts), Some(1));
    assert_eq!(next(&upstreams, &mut Attempts::default()), Some(2));
    assert_eq!(next(&upstreams, &mut other), Some(1));
    upstreams.refused(&mut attempts, &error());
    for _ in 0..4 {
        assert_eq!(next(&upstreams, &mut Attempts::default()), Some(2));
    }
    assert_eq!(in_rotation(&upstreams), [2]);
    upstreams.answered(&other);
    assert_eq!(in_rotation(&upstreams), [1, 2]);
}

#[test]
fn an_unhealthy_server_is_skipped_whatever_it_answers() {
    let upstreams = upstreams(&[1, 2]);
    let mut in_flight = Attempts::default();
    assert_eq!(next(&upstreams, &mut in_flight), Some(1));
    let server = &upstreams.endpoints()[0];
    let counts = Duration::from_secs(3600);
    upstreams.checked(server, Some("status 503".into()), counts);
    upstreams.answered(&in_flight);
    assert_eq!(in_rotation(&upstreams), [2]);
    upstreams.refused(&mut in_flight, &error());
    upstreams.checked(server, None, counts);
    assert_eq!(in_rotation(&upstreams), [1, 2]);
}

#[test]
fn a_server_that_fails_several_times_in_a_row_is_skipped() {
    let upstreams = upstreams(&[1, 2]);
    let mut attempts = Attempts::default();
    assert_eq!(next(&upstreams, &mut attempts), Some(1));
    for _ in 1..MAX_FAILURES {
        upstreams.failed(&attempts, &error());
    }
    upstreams.answered(&attempts);
    for _ in 1..MAX_FAILURES {
        upstreams.failed(&attempts, &error());
        assert_eq!(in_rotation(&upstreams), [1, 2]);
    }
    upstreams.failed(&attempts, &error());
    assert_eq!(in_rotation(&upstreams), [2]);
}

#[test]
fn a_single_server_is_tried_even_while_it_is_skipped() {
    let upstreams = upstreams(&[1]);
    let mut attempts = Attempts::default();
    next(&upstreams, &mut attempts);
    assert!(!upstreams.refused(&mut attempts, &error()));
    assert_eq!(next(&upstreams, &mut Attempts::default()), Some(1));
}

#[test]
fn servers_that_stay_configured_keep_their_state() {
    let upstreams = upstreams(&[1, 2]);
    let unhealthy = &upstreams.endpoints()[0];
    upstreams.checked(unhealthy, Some("status 503".into()), RESOLVE_INTERVAL);
    let changed = config(&[server("127.0.0.1", 3), server("127.0.0.1", 1)]);
    upstreams.adopt(&changed);
    let endpoints = upstreams.endpoints();
    assert_eq!(endpoints.iter().map(|e| e.address.port()).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(in_rotation(&upstreams), [3]);
}

#[test]
fn each_name_at_an_address_is_a_server_of_its_own_over_tls() {
    let server = |host: &str, tls| Server { host: host.into(), port: 1, tls };
    let both = config(&[server("127.0.0.1", false), server("127.0.0.1", true)]);
    let upstreams = Upstreams::new(&both);
    assert_eq!(upstreams.endpoints().len(), 2);
    let names = [server("a.example", true), server("b.example", true), server("c.example", false)];
    let named = config(&names);
    upstreams.adopt(&named);
    for name in &names {
        upstreams.set_answer(name, &["192.0.2.1:1".parse().unwrap()]);
    }
    let endpoints = upstreams.endpoints();
    let names: Vec<&str> = endpoints.iter().map(|e| e.server.host.as_str()).collect();
    assert_eq!(names, ["a.example", "b.example", "c.example"]);
}

#[test]
fn a_request_goes_to_the_servers_of_its_own_configuration() {
    let upstreams = upstreams(&[1]);
    let before = upstreams.newest().config.upgrade().unwrap();
    let after = config(&[server("127.0.0.1", 2)]);
    upstreams.adopt(&after);
    let port = |config| next_of(&upstreams, &mut Attempts::default(), config);
    assert_eq!((port(&before), port(&after)), (Some(1), Some(2)));
    assert_eq!(in_rotation(&upstreams), [2]);
    // Configurations that nothing uses are dropped.
    let third = config(&[server("127.0.0.1", 3)]);
    drop(after);
    upstreams.adopt(&third);
    assert_eq!(upstreams.found.load().len(), 2);
    assert!(!upstreams.answers().iter().any(|(server, _)| server.port == 2));
}

#[tokio::test]
async fn a_configuration_is_prepared_without_becoming_the_newest() {
    let upstreams = upstreams(&[1]);
    let named = config(&[server("localhost", 7)]);
    assert!(upstreams.prepare(&named, RESOLVE_INTERVAL).await);
    assert_eq!(in_rotation(&upstreams), [1]);
    let unknown = config(&[server("does-not-exist.invalid", 7)]);
    assert!(!upstreams.prepare(&unknown, RESOLVE_INTERVAL).await);
    upstreams.adopt(&named);
    assert!(in_rotation(&upstreams).iter().all(|port| *port == 7));
    assert_eq!(next_of(&upstreams, &mut Attempts::default(), &named), Some(7));
}

#[tokio::test]
async fn names_are_resolved_and_the_last_good_answer_is_kept() {
    let servers = [server("localhost", 7)];
    let known = config(&servers);
    let upstreams = Upstreams::new(&known);
    assert!(upstreams.next(&mut Attempts::default(), &known).is_none());
    assert_eq!(upstreams.unresolved(&known), servers);
    upstreams.resolve(&known).await;
    assert!(next(&upstreams, &mut Attempts::default()).is_some());
    assert_eq!(upstreams.unresolved(&known), []);
    // As if the name of this server had been resolved before.
    let gone = config(&[server("does-not-exist.invalid", 7)]);
    upstreams.answers()[0].0 = gone.upstream[0].clone();
    upstreams.adopt(&gone);
    upstreams.resolve(&gone).await;
    assert!(next(&upstreams, &mut Attempts::default()).is_some());
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_keeps_no_address_of_others() {
    let config = config(&[server("does-not-exist.invalid", 7), server("localhost", 7)]);
    let upstreams = Upstreams::new(&config);
    // As if the other one had moved.
    let gone: SocketAddr = "192.0.2.1:7".parse().unwrap();
    upstreams.answers()[1].1 = vec![gone];
    upstreams.adopt(&config);
    upstreams.resolve(&config).await;
    let endpoints = upstreams.endpoints();
    assert!(!endpoints.is_empty() && endpoints.iter().all(|e| e.address != gone));
}
