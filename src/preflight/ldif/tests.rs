use super::*;

/// All records of a text, with all values except those of `photo`; faults as their line and
/// message.
fn read(text: &[u8]) -> Vec<Result<Record, String>> {
    read_in_pieces(text, 8192)
}

fn read_in_pieces(text: &[u8], size: usize) -> Vec<Result<Record, String>> {
    let mut reader = Reader::new(io::BufReader::with_capacity(size, text));
    let wanted = |name: &[u8]| !name.starts_with(b"photo");
    let sentence = |fault| match fault {
        Fault::Broken { line, why } => format!("{line}: {why}"),
        Fault::Encoding => "encoding".into(),
        Fault::Io(error) => error.to_string(),
    };
    let next = || reader.next(&wanted).map(|record| record.map_err(sentence));
    std::iter::from_fn(next).collect()
}

fn entry(dn: &str, attributes: &[(&str, &str)]) -> Result<Record, String> {
    let mut entry = Entry::new(dn.into());
    for (name, value) in attributes {
        entry.add(name.as_bytes(), value.as_bytes().to_vec());
    }
    Ok(Record::Entry(entry))
}

#[test]
fn entries_are_read_as_the_standard_has_them() {
    let text = "\u{feff}version: 1\n# a comment\n  that goes on\n\ndn: cn=a,\n dc=x\ncn:a\ncn:  b \nmail:\n\
                description:: SsO2\n cmc=\n\n\n# between\ndn:: Y249w7w=\nchangetype: add\ncn;lang-de: ü\n\
                DN2: x";
    let wanted = [
        entry("cn=a,dc=x", &[("cn", "a"), ("cn", "b "), ("mail", ""), ("description", "Jörg")]),
        entry("cn=ü", &[("cn;lang-de", "ü"), ("DN2", "x")]),
    ];
    assert_eq!(read(text.as_bytes()), wanted);
    let windows = text.replace('\n', "\r\n");
    assert_eq!(read(windows.as_bytes()), wanted);
    for size in [1, 2, 3, 7] {
        assert_eq!(read_in_pieces(windows.as_bytes(), size), wanted, "{size}");
    }
}

#[test]
fn values_that_are_not_wanted_are_skipped_but_validated() {
    let text =
        b"dn: cn=a\nphoto:: AAAA\n AAA=\nphoto: x\ncn: a\n\ndn: cn=b\nphoto:: AAA\ncn: b\n\n\
                 dn: cn=c\nphoto:: AA=A\n\ndn: cn=d\nphoto:< file:///x\n\ndn: cn=e\n";
    let wanted = [
        entry("cn=a", &[("cn", "a")]),
        Err(format!("8: {NO_BASE64}")),
        Err(format!("12: {NO_BASE64}")),
        Err(format!("15: {URL}")),
        entry("cn=e", &[]),
    ];
    assert_eq!(read(text), wanted);
}

#[test]
fn changes_are_not_entries() {
    let text = b"dn: cn=a\nchangetype: modify\nreplace: cn\ncn: b\n-\n\ndn: cn=b\ncontrol: 1.2.3 true\n\
                 changetype: delete\n\ndn: cn=c\nchangetype: add\ncn: c\n\n# Referral\nref: ldap://x\n\n\
                 search: 2\nresult: 4 Size limit exceeded\n";
    let wanted = [
        Ok(Record::Change),
        Ok(Record::Change),
        entry("cn=c", &[("cn", "c")]),
        Ok(Record::Note { result: None }),
        Ok(Record::Note { result: Some(4) }),
    ];
    assert_eq!(read(text), wanted);
}

#[test]
fn a_broken_record_is_named_and_the_next_one_is_read() {
    for (broken, line, why) in [
        ("cn: a", 1, "begin with `dn:`"),
        (" cn: a", 1, "begins with a blank"),
        ("dn: cn=x\nno colon", 2, "no colon"),
        ("dn: cn=x\nmail:: !", 2, "not base64"),
        ("dn: cn=x\nmail:< file:///etc/passwd", 2, "another file"),
        ("dn:: !", 1, "not base64"),
        ("dn: cn=x\nb\u{fc}: y", 2, "not the name of an attribute"),
        ("dn: cn=x\n-", 2, "no colon"),
        ("dn: cn=x\ncn: a\nchangetype: add", 3, "must follow the DN"),
        ("dn: cn=x\ndn: cn=y", 2, "second `dn:`"),
        ("version: 2\ndn: cn=x", 1, "version"),
        ("dn: cn=x\ncn: a\0b", 2, "NUL"),
    ] {
        let text = format!("{broken}\nmore: x\n\ndn: cn=next\ncn: y\n");
        let read = read(text.as_bytes());
        assert_eq!(read.len(), 2, "{broken:?}: {read:?}");
        let sentence = read[0].as_ref().expect_err(broken);
        assert!(sentence.starts_with(&format!("{line}: ")), "{broken:?}: {sentence}");
        assert!(sentence.contains(why), "{broken:?}: {sentence}");
        assert_eq!(read[1], entry("cn=next", &[("cn", "y")]));
    }
}

#[test]
fn a_file_that_is_not_ldif_is_reported_once() {
    assert_eq!(read(b"\xff\xfed\0n\0"), [Err("encoding".into())]);
    assert_eq!(read(b""), []);
    assert_eq!(read(b"\n\n# only a comment"), []);
    let long = format!("dn: cn=x\ncn: {}\n\ndn: cn=y\n", "x".repeat(5 << 20));
    let read = read(long.as_bytes());
    assert_eq!(read[0], Err("2: the line is longer than 4 MiB".into()));
    assert_eq!(read[1], entry("cn=y", &[]));
}
