"""Generates SCIM payloads: valid documents with one or several faults, and mutations of their characters.

A value is serialised by dump(), which takes any Python value, Raw JSON source, and Members, a list of
pairs in which names may repeat.
"""


CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
MAP = "urn:ietf:params:scim:schemas:extension:wire:1.0:User"
PROFILE = "urn:wire:scim:schemas:profile:1.0"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Raw(str):
    """JSON source that is written unchanged."""


class Members(list):
    """An object as a list of pairs."""


ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def dump_text(rng, text):
    out = []
    escape = rng.random() < 0.05
    for c in text:
        if c in ESCAPES:
            out.append(ESCAPES[c] if rng.random() < 0.98 else c)
        elif c < " ":
            out.append("\\u%04x" % ord(c) if rng.random() < 0.95 else c)
        elif escape and rng.random() < 0.4:
            code = ord(c)
            if code > 0xFFFF:
                code -= 0x10000
                out.append("\\u%04X\\u%04x" % (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF)))
            else:
                out.append("\\u%04x" % code)
        else:
            out.append(c)
    return '"' + "".join(out) + '"'


def dump(rng, value):
    space = lambda: "" if rng.random() < 0.9 else rng.choice([" ", "\n", "\t", "\r\n ", "  "])
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "null"
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return dump_text(rng, value)
    if isinstance(value, (Members, dict)):
        pairs = value if isinstance(value, Members) else value.items()
        parts = [space() + dump_text(rng, k) + space() + ":" + space() + dump(rng, v) + space() for k, v in pairs]
        return "{" + ",".join(parts) + "}"
    return "[" + ",".join(space() + dump(rng, v) + space() for v in value) + "]"


LETTERS = "abcdefghijklmnopqrstuvwxyz"
ODD = [
    "é",
    "ß",
    "ſ",
    "K",
    "ı",
    "İ",
    "日",
    "🚀",
    "\u202e",
    "\u200b",
    "\u00a0",
    "\u0301",
    "ﬁ",
    "\x00",
    "\x07",
    "\x7f",
    "Σ",
    "ς",
]


def word(rng, low=1, high=8):
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(low, high)))


def calm(rng):
    """Whether to take the valid choice: half of all payloads should have one or two faults, not ten."""
    return rng.calm and rng.random() < 0.95


def any_text(rng):
    if calm(rng):
        return word(rng)
    kind = rng.random()
    if kind < 0.5:
        return word(rng)
    if kind < 0.6:
        return ""
    if kind < 0.9:
        return "".join(rng.choice(ODD + list(LETTERS) + [" ", "A", "."]) for _ in range(rng.randint(1, 6)))
    return rng.choice(["x", "é", "🚀"]) * rng.choice([64, 127, 128, 129, 130, 256, 257])


def any_value(rng, depth=0):
    kinds = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.choice([0, 1, -1, 5, 1.5]),
        lambda: Raw(rng.choice(["1e999999", "0e5", "-0", "0.0", "1E+2", "1" * 400, "-1.5e-7"])),
        lambda: any_text(rng),
        lambda: rng.choice(["true", "False", "TRUE", "falſe", "yes"]),
    ]
    if depth < 3:
        kinds.append(lambda: [any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))])
        kinds.append(lambda: {any_key(rng): any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))})
    return rng.choice(kinds)()


def any_key(rng):
    return rng.choice(
        ["value", "type", "primary", "userName", "display", "x", "formatted", "", "$ref", "op", "path", word(rng)]
    )


def fold_differently(rng, key):
    how = rng.random()
    if how < 0.3:
        return key.lower()
    if how < 0.5:
        return key.upper()
    if how < 0.8:
        return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in key)
    return key.replace("s", "ſ", 1).replace("k", "K", 1)


def handle(rng):
    if calm(rng):
        return word(rng, 2, 8)
    how = rng.random()
    if how < 0.6:
        return word(rng, 2, 8)
    if how < 0.7:
        return word(rng, 1, 2)
    if how < 0.8:
        return rng.choice("ab") * rng.choice([1, 2, 255, 256, 257])
    if how < 0.9:
        return "".join(rng.choice(LETTERS + "ABZ0129_.-") for _ in range(rng.randint(1, 5)))
    return "".join(rng.choice(list(LETTERS) + ODD + ["@", " ", "/", "K"]) for _ in range(rng.randint(1, 5)))


def blank(rng):
    return rng.choice(
        ["", "", "", "", " ", "\t", "(c)", "(a(b)\\))", "\r\n ", " \r\n\t", "\r\n", "\n", "(", "( x )"]
    )


def address(rng):
    how = rng.random()
    if how < 0.5 or calm(rng):
        return f"{word(rng)}@{word(rng)}.{word(rng, 2, 3)}"
    piece = lambda: rng.choice(
        [
            word(rng, 1, 4),
            word(rng, 1, 4),
            "a+b",
            "a_b",
            "x" * rng.choice([20, 31, 32, 33, 63, 64, 65]),
            '"q"',
            '"a b"',
            '""',
            '"\\""',
            '"\x01"',
            "é",
            "",
            "a b",
            '"' + any_text(rng) + '"',
            "!#$%&'*/=?^`{|}~-",
        ]
    )
    label = lambda: rng.choice(
        [word(rng, 1, 4), word(rng, 1, 4), "a-b", "-a", "a-", "a_b", "", "x" * rng.choice([62, 63, 64]), "0", "é"]
    )
    local = ".".join(blank(rng) + piece() + blank(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    if rng.random() < 0.15:
        inner = rng.choice(
            ["127.0.0.1", "IPv6:::1", "", "a b", "a[b", "a\\b", "\x01", "é", "\r\n x", any_text(rng)]
        )
        domain = blank(rng) + "[" + inner + "]" + blank(rng)
    else:
        domain = ".".join(blank(rng) + label() + blank(rng) for _ in range(rng.choice([1, 2, 2, 3, 5])))
    return local + rng.choice(["@"] * 9 + ["", "@@"]) + domain + rng.choice([""] * 8 + [".", ". ", "\n"])


def uri(rng):
    if calm(rng):
        return "https://example.com/" + word(rng)
    scheme = rng.choice(["http:", "https:", "x:", "a+b.c-1:", "1x:", "", ":", "ü:"])
    host = rng.choice(
        [
            "example.com",
            "",
            "a",
            "[::1]",
            "[1:2:3:4:5:6:7:8]",
            "[1:2:3:4:5:6:7::]",
            "[::1.2.3.4]",
            "[::001.02.3.4]",
            "[::1.2.3.256]",
            "[v1.a]",
            "[V1.a]",
            "[v12.a]",
            "[v1.a:b]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[::1",
            "a%41",
            "a%4",
            "u:p@h",
            "u@h@i",
            "ä",
            "a b",
            "[1::2::3]",
            "[:::]",
            "[::%25]",
            "[12345::]",
        ]
    )
    port = rng.choice(["", "", "", ":", ":80", ":99999999", ":x"])
    path = rng.choice(["", "/", "/a/b", "//a", "a:b", "/a b", "/ä", "/%2F", "/%", '/"', "/[", "/a;b=c,d", "/|"])
    tail = rng.choice(["", "", "", "?a=b/c?d", "?", "#", "#a/b?c", "#a#b", "?[", "#\\"])
    return scheme + rng.choice(["//" + host + port, "", "/"]) + path + tail


def rich_key(rng):
    return rng.choice(["a", "A", "b", "Dept", "DEPT", "dept", "ſ", "s", "S", "ß", "SS", "", "K", "k", word(rng)])


def rich_value(rng):
    return rng.choice(
        ["", "x", "y", any_text(rng), "z" * rng.choice([1, 10, 2498, 2499, 4990, 4998, 4999, 5000, 5001])]
    )


def rich_map(rng):
    pairs = Members((rich_key(rng), rich_value(rng)) for _ in range(rng.randint(0, 4)))
    if rng.random() < 0.1:
        pairs.append((rich_key(rng), any_value(rng)))
    return pairs


def rich_profile(rng):
    def field():
        pairs = Members([("type", rich_key(rng)), ("value", rich_value(rng))])
        if rng.random() < 0.1:
            pairs[rng.randrange(2)] = (rng.choice(["Type", "VALUE", "x", "type"]), any_value(rng))
        if rng.random() < 0.1:
            pairs.append((any_key(rng), any_value(rng)))
        return pairs

    fields = [field() for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.05:
        fields.append(any_value(rng))
    key = lambda name: fold_differently(rng, name) if rng.random() < 0.1 else name
    if rng.random() < 0.4:
        return {key("richInfo"): fields}
    version = Raw(rng.choice(["0"] * 8 + ["0.0", "-0", "0e5", "1", "1e-999", '"0"', "null", "0.0e9", "00"]))
    inner = Members([(key("version"), version), (key("fields"), fields)])
    if rng.random() < 0.05:
        inner.pop(rng.randrange(2))
    return {key("richInfo"): inner}


def user_members(rng):
    maybe = lambda chance: rng.random() < chance
    members = Members([("userName", handle(rng))])
    if maybe(0.9):
        members.append(("externalId", address(rng) if maybe(0.75) else any_text(rng)))
    if maybe(0.8):
        members.append(("displayName", any_text(rng)))
    if maybe(0.7):
        members.append(("schemas", [CORE] if maybe(0.9) else [any_text(rng)]))
    texts = ["nickName", "title", "userType", "locale"]
    for name in texts:
        if maybe(0.08):
            members.append((name, any_text(rng)))
    if maybe(0.3):
        entry = lambda: Members(
            [("value", address(rng)), ("type", "work")]
            + ([("primary", rng.choice([True, False, "true", "FALSE", None]))] if maybe(0.5) else [])
        )
        members.append(("emails", [entry() for _ in range(rng.randint(0, 3))]))
    for name in ["phoneNumbers", "ims", "x509Certificates"]:
        if maybe(0.07):
            members.append((name, [{"value": any_text(rng), "type": "x"} for _ in range(rng.randint(0, 2))]))
    if maybe(0.1):
        members.append(("photos", [{"value": uri(rng)}]))
    if maybe(0.12):
        members.append(("profileUrl", uri(rng)))
    if maybe(0.1):
        members.append(("addresses", [{"country": "DE", "primary": rng.choice([True, "TRUE", None])}]))
    if maybe(0.1):
        members.append(("name", {"givenName": any_text(rng), "x": any_value(rng)}))
    if maybe(0.3):
        role = lambda: rng.choice(["owner", "admin", "member", "partner", "member", "Admin", "king", ""])
        members.append(("roles", [role() for _ in range(rng.choice([0, 1, 1, 1, 2]))]))
    if maybe(0.05):
        members.append(("entitlements", [any_text(rng)]))
    if maybe(0.25):
        language = [
            "en",
            "de-CH",
            "EN",
            "e",
            "",
            "xx",
            "tlh",
            "iw",
            "ıt",
            "ſv",
            "bh",
            "sh",
            " f",
            "zh",
            word(rng, 2, 3),
        ]
        members.append(("preferredLanguage", rng.choice(language)))
    if maybe(0.25):
        members.append(("active", rng.choice([True, False, "true", "FALSE", "yes", None, 1])))
    if maybe(0.2):
        members.append((MAP, rich_map(rng)))
    if maybe(0.2):
        members.append((PROFILE, rich_profile(rng)))
    if maybe(0.05):
        members.append(("password", rng.choice([None, "", "x"])))
    if maybe(0.15):
        members.append((rng.choice(["id", "meta", "x", ENTERPRISE, "timezone", ""]), any_value(rng)))
    return members


def spoil(rng, members):
    """Applies one mutation to an object."""
    if not members:
        return
    at = rng.randrange(len(members))
    key, value = members[at]
    how = rng.random()
    if how < 0.35:
        members[at] = (key, any_value(rng))
    elif how < 0.55:
        members[at] = (fold_differently(rng, key), value)
    elif how < 0.65:
        members.pop(at)
    elif how < 0.75:
        members.insert(rng.randrange(len(members) + 1), (key, any_value(rng) if rng.random() < 0.5 else value))
    elif how < 0.85:
        members.insert(rng.randrange(len(members) + 1), (fold_differently(rng, key), value))
    elif how < 0.95 and type(value) is list and value:
        value[rng.randrange(len(value))] = any_value(rng)
    else:
        members[at] = (key, None)


def user(rng):
    members = user_members(rng)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        spoil(rng, members)
    rng.shuffle(members)
    return dump(rng, members)


def path(rng):
    how = rng.random()
    name = rng.choice(["userName", "displayName", "externalId", "active", "roles"])
    if how < 0.45 or calm(rng):
        return name
    if how < 0.55:
        return rng.choice([name.upper(), name + ".x", CORE + ":" + name, CORE + ":" + name + ".y", name.lower()])
    if how < 0.72:
        key = rng.choice(["Dept", "dept", "a", "b-c", "d_e", "x1", "1x", "a b", "é", "", "a.b"])
        return rng.choice([MAP, PROFILE]) + ":" + key
    if how < 0.8:
        return rng.choice(
            ["name.givenName", "title", "emails", "nickName", "x", "members", "photos", "preferredLanguage"]
        )
    if how < 0.92:
        value = rng.choice(['"work"', "true", "TRUE", "null", "NULL", "5", "+5", "-1.5e3", '"a]b"', '"', "x"])
        operator = rng.choice(["eq", "EQ", "co", "xx", "eq ", " eq"])
        rest = rng.choice(["", ".value", ".", ".1", "x", ".a.b"])
        return f"emails[type {operator} {value}]{rest}"
    return rng.choice(
        [
            "",
            " userName",
            "userName ",
            "/userName",
            ENTERPRISE + ":department",
            CORE.lower() + ":userName",
            "user$Name",
            "a..b",
            "a[",
            "a[]",
            any_text(rng),
        ]
    )


KINDS_OF_ADDRESS = ["work", "home", "work", "", "Work", "x", "tür"]
KNOWN_ADDRESSES = ["sample@example.com", "a@b.de", "x@y", "a@b", "name@corp.example"]


def email_entry(rng):
    """An entry of emails as a PATCH adds it, valid in most cases."""
    entry = Members([("value", rng.choice(KNOWN_ADDRESSES) if rng.random() < 0.6 else address(rng))])
    if rng.random() < 0.6:
        entry.append(("type", rng.choice(KINDS_OF_ADDRESS)))
    if rng.random() < 0.6:
        entry.append(("primary", rng.choice([True, True, "True", False, "FALSE", None])))
    if rng.random() < 0.1:
        entry.append((rng.choice(["display", "$ref", "x"]), any_value(rng)))
    if rng.random() < 0.12:
        spoil(rng, entry)
    rng.shuffle(entry)
    return entry


def value_path(rng):
    """A path that selects elements, of emails in most cases, with the filters that Wire distinguishes."""
    name = rng.choice(["emails"] * 12 + ["EMAILS", "roles", "phoneNumbers", "addresses", "userName"])
    if rng.random() < 0.1:
        name = rng.choice([CORE, PROFILE, MAP, ENTERPRISE]) + ":" + name
    if rng.random() < 0.05:
        name += ".foo"
    inner = rng.choice(["type"] * 6 + ["value", "value", "primary", "primary", "TYPE", "display"])
    if rng.random() < 0.06:
        inner = rng.choice([inner + ".x", CORE + ":" + inner])
    operator = rng.choice(["eq"] * 6 + ["EQ", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"])
    texts = KNOWN_ADDRESSES + ["sam", "@", ".com", "b"] if inner == "value" else KINDS_OF_ADDRESS + ["wo", "k"]
    literal = dump_text(rng, rng.choice(texts))
    if inner == "primary" or rng.random() < 0.08:
        literal = rng.choice(["true", "true", "false", "True", "FALSE", "null", "5", '"true"'])
    blank = lambda: rng.choice([" "] * 9 + ["\t ", "  "])
    sub = rng.choice([".value"] * 5 + ["", "", ".type", ".primary", ".primary", ".VALUE", ".display", ".x"])
    return f"{name}[{inner}{blank()}{operator}{blank()}{literal}]{sub}"


def value_path_operation(rng):
    """An operation on elements, with a value that matches its path in most cases."""
    target = value_path(rng)
    sub = target.rpartition("]")[2].lower()
    if rng.random() < 0.12:
        value = any_value(rng)
    elif sub == ".value":
        value = rng.choice(KNOWN_ADDRESSES) if rng.random() < 0.7 else address(rng)
    elif sub == ".type":
        value = rng.choice(KINDS_OF_ADDRESS)
    elif sub == ".primary":
        value = rng.choice([True, True, "true", False, "False"])
    else:
        value = email_entry(rng)
        if rng.random() < 0.4:
            value = [email_entry(rng) for _ in range(rng.randint(0, 3))]
    pairs = Members([("op", rng.choice(["add", "Add", "replace", "Replace", "remove"])), ("path", target)])
    if rng.random() < 0.95:
        pairs.append(("value", value))
    if rng.random() < 0.03:
        spoil(rng, pairs)
    rng.shuffle(pairs)
    return pairs


def operation(rng):
    if rng.random() < 0.4:
        return value_path_operation(rng)
    op = rng.choice(["add", "replace", "Replace", "ADD", "remove", "Remove", "replace"])
    pairs = Members([("op", op)])
    if rng.random() < 0.85:
        pairs.append(("path", path(rng)))
    what = rng.random()
    if what < 0.25:
        value = handle(rng)
    elif what < 0.4:
        value = any_text(rng)
    elif what < 0.5:
        value = [rng.choice(["admin", "member", "x"]) for _ in range(rng.randint(0, 2))]
    elif what < 0.6:
        value = rng.choice([True, False, "False", "tRUE", None])
    elif what < 0.75:
        keys = ["userName", "externalId", "displayName", "active", "roles", "title", "schemas"]
        known = {
            "userName": handle(rng),
            "externalId": address(rng),
            "displayName": any_text(rng),
            "active": False,
            "roles": ["admin"],
            "title": "x",
            "schemas": [],
        }
        chosen = [key for key in keys if rng.random() < (0.6 if key in keys[:4] else 0.1)]
        value = Members((key, known[key]) for key in chosen)
        if rng.random() < 0.25:
            spoil(rng, value)
    elif what < 0.85:
        value = rich_value(rng)
    else:
        value = any_value(rng)
    if rng.random() < 0.93:
        pairs.append(("value", value))
    if rng.random() < 0.1:
        spoil(rng, pairs)
    rng.shuffle(pairs)
    return pairs


def patch(rng):
    members = Members(
        [
            ("schemas", [PATCH_OP]),
            ("Operations", [operation(rng) for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 5]))]),
        ]
    )
    if rng.random() < 0.05:
        members[0] = (
            "schemas",
            rng.choice([[CORE], [PATCH_OP.lower()], [CORE, PATCH_OP], [], None, [PATCH_OP, 5]]),
        )
    if rng.random() < 0.12:
        spoil(rng, members)
    return dump(rng, members)


def uuid(rng):
    form = rng.choice(["8-4-4-4-12"] * 9 + ["8-4-4-4-11", "32", "8-4-4-12"])
    digits = "0123456789abcdefABCDEF" if rng.random() < 0.95 else "0123456789abcdefg"
    return "-".join("".join(rng.choice(digits) for _ in range(int(n))) for n in form.split("-"))


def group(rng):
    def member():
        pairs = Members([("value", uuid(rng)), ("type", rng.choice(["User", ""])), ("$ref", any_text(rng))])
        if rng.random() < 0.15:
            spoil(rng, pairs)
        return pairs

    name = rng.choice(
        ["Team", "", any_text(rng), "x" * rng.choice([3999, 4000, 4001]), "é" * rng.choice([2000, 4000])]
    )
    members = Members(
        [
            ("schemas", ["x"]),
            ("displayName", name),
            ("members", [member() for _ in range(rng.choice([0, 0, 1, 2, 3]))]),
        ]
    )
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        spoil(rng, members)
    rng.shuffle(members)
    return dump(rng, members)


def mutate(rng, text):
    """Deletes, inserts or replaces one character."""
    at = rng.randrange(len(text) + 1)
    new = rng.choice(list('"\\{}[],: \t\n.eE+-0au') + ODD + ["\\ud800", "\\u0000", "null"])
    how = rng.random()
    if how < 0.4:
        return text[:at] + text[at + 1 :]
    if how < 0.7:
        return text[:at] + new + text[at:]
    return text[:at] + new + text[at + 1 :]


def comparison(rng, names):
    if calm(rng):
        operator = "co" if names[0] == "displayName" else "eq"
        return f"{names[0]}{rng.choice(['', '', '.x'])} {operator} {dump_text(rng, word(rng))}"
    blanks = lambda: rng.choice([" ", " ", " ", " ", "  ", "\t", "\n", "\v\f\r", "", "\u00a0"])
    urn = rng.choice([""] * 6 + [CORE + ":", CORE.lower() + ":", MAP + ":", ENTERPRISE + ":"])
    name = rng.choice(names)
    name = rng.choice(
        [name, name, name, name.lower(), name.upper(), name + ".x", name + ".", name.replace("s", "ſ")]
    )
    operator = rng.choice(["eq", "eq", "eq", "co", "EQ", "Co", "ne", "sw", "gt", "le", "pr", "eqq", "eK"])
    literal = rng.choice(
        [
            dump_text(rng, any_text(rng)),
            dump_text(rng, word(rng)),
            '"a"',
            "5",
            "+5",
            "+-5",
            "-0.5e-7",
            "05",
            "1.",
            "1e",
            "1e+",
            "true",
            "TRUE",
            "fAlse",
            "null",
            "NULL",
            "nul",
            "a",
            '"\x01"',
            '"é\x01"',
            '"\\u00e9\x02"',
            '"\\ud83d\\ude00"',
            '"\\ud800"',
            "[1]",
            "{}",
            "",
        ]
    )
    return blanks().strip("\u00a0") * (rng.random() < 0.1) + urn + name + blanks() + operator + blanks() + literal


def any_filter(rng, names):
    text = comparison(rng, names)
    how = rng.random()
    if how < 0.05:
        text += rng.choice([" and ", " or "]) + comparison(rng, names)
    elif how < 0.1:
        text = rng.choice(["(", "not ", "not(", " "]) + text + rng.choice(["", ")", " "])
    return text


GENERATORS = {
    "user": user,
    "patch": patch,
    "group": group,
    "filter": lambda rng: any_filter(
        rng, ["userName", "externalId", "userName", "displayName", "id", "emails.value"]
    ),
    "group_filter": lambda rng: any_filter(rng, ["displayName", "displayName", "members", "userName"]),
}
KINDS = ["user"] * 9 + ["patch"] * 7 + ["group"] * 2 + ["filter"] + ["group_filter"]


def case(rng):
    """A kind, and the bytes of a payload of this kind."""
    kind = rng.choice(KINDS)
    rng.calm = rng.random() < 0.6
    text = GENERATORS[kind](rng)
    while rng.random() < 0.06:
        text = mutate(rng, text)
    raw = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.01:
        raw = rng.choice(
            [b"\xef\xbb\xbf" + raw, raw + b"\x00", raw[:-1], raw + b" x", raw.replace(b"a", b"\xff", 1), b""]
        )
    return kind, raw
