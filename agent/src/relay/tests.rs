//! Over loopback, with limits small enough to be met.

use super::*;

fn limits() -> Limits {
    Limits {
        connections_max: 4,
        of_peer_max: 3,
        request_bytes_max: 200,
        request_wait: Duration::from_millis(300),
        connect_wait: Duration::from_secs(5),
        silence_max: Duration::from_millis(300),
    }
}

/// A relay to one server of ours; where it listens, and that server.
async fn relay(limits: Limits, proxy: Option<SocketAddr>) -> (Arc<Relay>, SocketAddr, TcpListener) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (to, at) = (server.local_addr().unwrap(), listener.local_addr().unwrap());
    let proxy = proxy.map(|proxy| Proxy::given(&format!("http://{proxy}"), None).unwrap());
    let relay = Arc::new(Relay::to(&[format!("https://{to}")], proxy, limits).unwrap());
    tokio::spawn(Arc::clone(&relay).accept(listener));
    (relay, at, server)
}

/// Sends this and reads until the end.
async fn answer(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut text = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// Let through to the server.
async fn through(at: SocketAddr, server: &TcpListener, early: &[u8]) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(at).await.unwrap();
    let to = server.local_addr().unwrap();
    let request = [format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes(), early].concat();
    client.write_all(&request).await.unwrap();
    let (accepted, _) = server.accept().await.unwrap();
    let mut reply = [0; 39];
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 Connection established\r\n\r\n");
    (client, accepted)
}

#[tokio::test]
async fn only_a_connect_to_an_enrolled_server_is_let_through() {
    let (_, at, server) = relay(limits(), None).await;
    let to = server.local_addr().unwrap();
    for (request, status) in [
        ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n".to_owned(), "403"),
        (format!("CONNECT 127.0.0.2:{} HTTP/1.1\r\n\r\n", to.port()), "403"),
        (format!("CONNECT {to}@127.0.0.2:1 HTTP/1.1\r\n\r\n"), "400"),
        (format!("CONNECT {to}/ HTTP/1.1\r\n\r\n"), "400"),
        ("CONNECT localhost HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET https://{to}/ HTTP/1.1\r\n\r\n"), "405"),
        ("\x16\x03\x01\r\n\r\n".to_owned(), "400"),
        (format!("CONNECT {to} HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200)), "431"),
        (format!("CONNECT {to} HTTP/1.1\r\nx: "), "408"),
    ] {
        let answered = answer(at, request.as_bytes()).await;
        assert!(answered.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answered:?}");
    }
    let (mut client, mut accepted) = through(at, &server, b"hello").await;
    client.write_all(b", server").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    accepted.read_to_string(&mut heard).await.unwrap();
    // What the client has said is over; what the server says still comes.
    accepted.write_all(b"hello, client").await.unwrap();
    drop(accepted);
    let mut told = String::new();
    client.read_to_string(&mut told).await.unwrap();
    assert_eq!((heard.as_str(), told.as_str()), ("hello, server", "hello, client"));
}

#[tokio::test]
async fn connections_are_counted_and_places_are_given_back() {
    let (relay, at, server) = relay(Limits { silence_max: Duration::from_mins(1), ..limits() }, None).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(through(at, &server, b"").await);
    }
    assert!(answer(at, b"").await.starts_with("HTTP/1.1 429 "));
    let other: IpAddr = [192, 0, 2, 1].into();
    let fourth = Seat::take(&relay, other).ok().unwrap();
    assert!(answer(at, b"").await.starts_with("HTTP/1.1 503 "));
    drop((open, fourth));
    while !relay.open.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    through(at, &server, b"").await;
}

#[tokio::test]
async fn silence_ends_a_connection_and_a_word_in_either_direction_keeps_it() {
    let (_, at, server) = relay(limits(), None).await;
    let (mut client, mut accepted) = through(at, &server, b"").await;
    let begun = Monotonic::now();
    let mut byte = [0; 1];
    while begun.elapsed() < limits().silence_max * 3 {
        accepted.write_all(b".").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        tokio::time::sleep(limits().silence_max / 10).await;
    }
    assert_eq!(timeout(Duration::from_secs(10), client.read(&mut byte)).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn a_server_that_is_away_is_said() {
    let (_, at, server) = relay(limits(), None).await;
    let request = format!("CONNECT {} HTTP/1.1\r\n\r\n", server.local_addr().unwrap());
    drop(server);
    assert!(answer(at, request.as_bytes()).await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn a_relay_goes_through_the_proxy_that_its_host_goes_through() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_, at, server) = relay(limits(), Some(proxy.local_addr().unwrap())).await;
    let to = server.local_addr().unwrap();
    for (reply, expected) in [("200 OK", "200"), ("407 No", "502"), ("403 No", "502")] {
        let asked = tokio::spawn(async move { answer(at, format!("CONNECT {to} HTTP/1.1\r\n\r\n").as_bytes()).await });
        let (mut stream, _) = proxy.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        assert_eq!(request[..length], format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes());
        stream.write_all(format!("HTTP/1.1 {reply}\r\n\r\n").as_bytes()).await.unwrap();
        drop(stream);
        let answered = asked.await.unwrap();
        assert!(answered.starts_with(&format!("HTTP/1.1 {expected} ")), "{reply}: {answered}");
    }
}
