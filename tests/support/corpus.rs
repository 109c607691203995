//! The rows of the corpus, and the bytes of their requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// All rows of a file.
pub fn rows(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(format!("tests/corpus/{file}")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn body(row: &Value) -> Vec<u8> {
    match row["body_base64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => row["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

/// Header values of the corpus are latin-1.
fn latin1(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// The bytes of a row's request, with another target if one is given.
pub fn request(row: &Value, target: Option<&str>) -> Vec<u8> {
    if let Some(raw) = row["raw_base64"].as_str() {
        return STANDARD.decode(raw).unwrap();
    }
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    match (row["headers_list"].as_array(), row["headers"].as_object()) {
        (Some(list), _) => {
            headers.extend(
                list.iter().map(|pair| (pair[0].as_str().unwrap().into(), latin1(&pair[1]))),
            );
        }
        (None, Some(map)) => {
            headers.extend(map.iter().map(|(name, value)| (name.clone(), latin1(value))));
        }
        (None, None) => {}
    }
    let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut request = format!("{} ", row["method"].as_str().unwrap()).into_bytes();
    request.extend_from_slice(target.unwrap_or_else(|| row["target"].as_str().unwrap()).as_bytes());
    request.extend_from_slice(b" HTTP/1.1\r\n");
    let body = body(row);
    if !has("host") {
        request.extend_from_slice(b"Host: wire.example.com\r\n");
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    for (name, value) in &headers {
        request.extend_from_slice(format!("{name}: ").as_bytes());
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(&body);
    request
}
