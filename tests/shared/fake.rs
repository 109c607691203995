//! A server that speaks Redis' protocol and does what a test tells it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is done with a command.
pub enum Reply {
    /// The answer in Redis' protocol.
    Bytes(Vec<u8>),
    /// None, ever.
    Nothing,
    Close,
}

pub struct Store {
    pub addr: SocketAddr,
    commands: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Store {
    /// Answers what a guard needs to use the store; `script` decides about calls of the script, but for probes, which it
    /// is given as well.
    pub fn start(script: impl Fn(&[String]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let commands = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let (seen, script) = (Arc::clone(&commands), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*script));
            }
        });
        Self { addr, commands }
    }

    /// The arguments of the calls of the script that begin with this word, such as `take`.
    pub fn calls(&self, operation: &str) -> Vec<Vec<String>> {
        let commands = self.commands.lock().unwrap();
        let calls = commands.iter().filter_map(|command| arguments(command));
        calls.filter(|call| call[0] == operation).map(<[String]>::to_vec).collect()
    }
}

/// The arguments of a call of the script, without its keys.
pub fn arguments(command: &[String]) -> Option<&[String]> {
    if command[0] != "EVALSHA" {
        return None;
    }
    let keys: usize = command[2].parse().unwrap();
    Some(&command[3 + keys..])
}

/// Numbers as the script returns them.
pub fn numbers(numbers: [i64; 5]) -> Reply {
    let lines = numbers.map(|number| format!(":{number}\r\n"));
    Reply::Bytes(format!("*5\r\n{}", lines.concat()).into_bytes())
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Vec<String>>>,
    script: &(dyn Fn(&[String]) -> Reply + Send + Sync),
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(command) = read(&mut reader) {
        seen.lock().unwrap().push(command.clone());
        let reply = match (command[0].as_str(), arguments(&command)) {
            (_, Some(arguments)) => script(arguments),
            ("SCRIPT", _) => Reply::Bytes(format!("$40\r\n{}\r\n", "a".repeat(40)).into_bytes()),
            ("SUBSCRIBE", _) => {
                let channel = &command[1];
                let length = channel.len();
                let ack = format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{channel}\r\n:1\r\n");
                Reply::Bytes(ack.into_bytes())
            }
            ("PUBLISH", _) => Reply::Bytes(b":1\r\n".to_vec()),
            _ => Reply::Bytes(b"+OK\r\n".to_vec()),
        };
        match reply {
            Reply::Bytes(bytes) if stream.write_all(&bytes).is_ok() => {}
            Reply::Nothing => {}
            Reply::Bytes(_) | Reply::Close => return,
        }
    }
}

/// Reads one command.
fn read(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let line = |reader: &mut dyn BufRead| {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end()[1..].parse::<usize>().unwrap())
    };
    let count = line(reader)?;
    let mut command = Vec::with_capacity(count);
    for _ in 0..count {
        let mut word = vec![0; line(reader)? + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        command.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(command)
}
