//! One way to ask: a path, a method, JSON in and out, the token on every request, and bounds on time.

use std::error::Error;
use std::time::Duration;

use records::Rows;
use reqwest::{Method, RequestBuilder, StatusCode};
use schemas::{Request, RequestId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::address::ApiFile;
use super::error::{ClientError, Refusal};
use crate::args::verbs::ClientArgs;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Above the service's own limit, so that its word comes first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);

#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    token: String,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Asked {
    id: RequestId,
}

impl Client {
    pub fn new(url: &str, token: &str) -> Client {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client without TLS and proxies needs nothing of the system");
        Client { url: url.trim_end_matches('/').to_owned(), token: token.to_owned(), http }
    }

    pub fn find(args: &ClientArgs) -> Result<Client, ClientError> {
        let ApiFile { url, token } = ApiFile::find(args)?;
        Ok(Client::new(&url, &token))
    }

    /// Path segments come from parsed names and ids, or through `segment`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(self.request(Method::GET, path)).await
    }

    pub async fn get_with<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
        self.get(&path).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        self.ask(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(self.request(Method::DELETE, path)).await
    }

    pub async fn post_request(&self, request: &Request) -> Result<RequestId, ClientError> {
        let body = serde_json::to_value(request).map_err(|e| ClientError::Local(e.to_string()))?;
        let asked: Asked = self.post("/v1/requests", &body).await?;
        Ok(asked.id)
    }

    pub async fn run_schedule(&self, verb: &str, object: &str) -> Result<RequestId, ClientError> {
        let path = format!("/v1/schedules/{}/{}/run", segment(verb), segment(object));
        let asked: Asked = self.post(&path, &json!({})).await?;
        Ok(asked.id)
    }

    pub async fn query(&self, sql: &str) -> Result<Rows, ClientError> {
        self.post("/v1/query", &json!({ "sql": sql })).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|e| self.foreign(format!("its answer cannot be read: {e}")))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Refusal>(body) {
            Ok(refusal) if !refusal.code.is_empty() => {
                ClientError::Refused(Refusal { status: status.as_u16(), ..refusal })
            }
            _ => self.foreign(format!("it answered {status}")),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), reason: innermost(error) }
    }

    fn foreign(&self, reason: String) -> ClientError {
        ClientError::Foreign { url: self.url.clone(), reason }
    }
}

/// The outer layers only repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Text as one segment of a path, or as one value of a query.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_segment() {
        assert_eq!(segment("region-eu_1"), "region-eu_1");
        assert_eq!(segment("../a?b=é"), "%2E%2E%2Fa%3Fb%3D%C3%A9");
    }

    #[tokio::test]
    async fn nobody_listening_is_unreachable_and_says_what_to_do() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = Client::new(&format!("http://127.0.0.1:{port}"), "a token of sixteen bytes");
        let error = client.query("SELECT 1").await.unwrap_err();
        assert_eq!(error.exit(), super::super::exit::UNREACHABLE);
        let text = error.to_string();
        assert!(text.contains("tidegate up") && !text.contains("a token"), "{text}");
    }
}
