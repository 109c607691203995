"""The class of each kind of entry, and the diagnostics about the bridge's config."""

from people import BASE, CONFIG, FAULTS, STOPS, TOKEN, directory, person, record
from program import contains, expect, preflight, run


def judged(folder, entries, config=CONFIG, options=()):
    """Exit code, a line for each entry (one entry for each fault), and the summary."""
    ldif = b"".join(record(*person(n, fault)) for n, fault in enumerate(entries))
    paths = folder.file("bridge.yaml", config), folder.file("people.ldif", ldif)
    code, lines, _ = preflight("--bridge-config", paths[0], "--ldif", paths[1], *options)
    return code, lines[:-1], lines[-1]["summary"]


def one(folder, fault, config=CONFIG):
    code, lines, summary = judged(folder, [fault], config)
    return (code, *lines, summary) if lines else (code, None, summary)


def entries(folder):
    bad = b"J\xf6rg"
    marked = {"employeeNumber": ["gone"]}
    debug = CONFIG.replace("Info", "Debug")
    latin1 = CONFIG.replace("utf8", "latin1")
    shared = CONFIG.replace('displayName: "displayName"', 'displayName: "uid"')
    both = CONFIG.replace("ou=Leavers", "ou=People")
    cases = [
        ("keep", {}, CONFIG, None),
        ("keep", {"employeeNumber": ["GONE"]}, CONFIG, None),
        ("leave", marked, CONFIG, "employeeNumber"),
        ("leave", {"ou": "Leavers"}, CONFIG, "deleteFromDirectory"),
        ("leave", {"uid": None, **marked}, CONFIG, "deleteOnAttribute"),
        ("leave", {"uid": [bad], **marked}, CONFIG, "deleteOnAttribute"),
        ("leave", {}, both, "both searches"),
        ("skip", {"mail": None}, CONFIG, "mail is missing"),
        ("skip", {"uid": [bad]}, CONFIG, "uid"),
        ("skip", {"displayName": [bad]}, CONFIG, "displayName"),
        ("skip", {"employeeType": [bad]}, CONFIG, "employeeType"),
        ("stop", {"displayName": [bad]}, debug, "log level"),
        ("stop", {"uid": [bad], **marked}, debug, "uid"),
        ("keep", {"description": [bad]}, debug, None),
        ("keep", {"displayName": [bad]}, latin1, None),
        ("stop", {"mail": [bad]}, latin1, "no email address"),
        ("stop", {"mail": [bad]}, CONFIG, "mail"),
        ("stop", {"mail": [bad]}, CONFIG.replace('email: "mail", ', ""), "externalId"),
        ("stop", {"mail": ["nobody"]}, CONFIG, "no email address"),
        ("stop", {"mail": [""]}, CONFIG, "no email address"),
        ("stop", {"uid": None}, CONFIG, "uid is missing"),
        ("stop", {"uid": None, "mail": None}, CONFIG, "uid is missing"),
        ("stop", {"uid": ["a", "b"]}, CONFIG, "2 values"),
        ("stop", {"employeeType": ["a", "b"]}, CONFIG, "2 values"),
        ("stop", {"mail": None, **marked}, CONFIG, "mail is missing"),
        ("stop", {"mail": None}, both, "mail is missing"),
        ("stop", {"displayName": ["a", "b"], **marked}, CONFIG, "2 values"),
        ("stop", {}, shared, "same attribute"),
        ("leave", marked, shared, "deleteOnAttribute"),
    ]
    for wanted, fault, config, reason in cases:
        code, line, summary = one(folder, fault, config)
        what = f"{fault} {reason}"
        expect(what, line["class"], wanted)
        if reason:
            contains(what, line["reason"], reason)
        else:
            expect(what, line["reason"], None)
        sent = wanted == "keep" or config == both and wanted == "leave"
        expect(what, (line["user"] is not None, line["ok"] is not None), (sent, sent))
        # Mapping userName twice is an error whatever the entries are.
        fine = wanted in ("keep", "leave") and config != shared
        expect(f"{what}: exit code", code, 0 if fine else 1)
        expect(what, summary["stops_at"], line["entry"] if wanted == "stop" else None)
        expect(what, summary["class"][wanted], 1)


def outside(folder):
    for fault, config in [
        ({"ou": "Services"}, CONFIG),
        ({"objectClass": ["account"]}, CONFIG),
        ({}, CONFIG.replace('objectClass: "inetOrgPerson"}', 'objectClass: "inetOrgPerson", title: "x"}', 1)),
    ]:
        code, line, summary = one(folder, fault, config)
        expect(str(fault), (code, line, summary["outside"], summary["entries"]), (0, None, 1, 0))
    loose = CONFIG.replace(f"ou=People,{BASE}", "OU = people , DC=Example,dc=ORG").replace("inetOrgPerson", "INETORGPERSON")
    expect("loose spelling", one(folder, {"title": ["X  y"]}, loose.replace("}", ', title: "x Y"}', 1))[1]["class"], "keep")


def where_it_stops(folder):
    bad = {"mail": None, "employeeNumber": ["gone"]}
    no_email = CONFIG.replace('email: "mail", ', "")
    wrong_id = {"mail": [b"\xff"]}
    cases = [
        ([{"uid": None}, {}, {"uid": None}, {}, bad], CONFIG, 2),
        ([{"uid": None}, wrong_id], no_email, 0),
        ([wrong_id, wrong_id, bad], no_email, 1),
        ([bad, {}], CONFIG, 0),
        ([bad, {"mail": None, "ou": "Leavers"}], CONFIG, 0),
        ([{"mail": None, "ou": "Leavers"}, {}], CONFIG, 0),
        ([{"mail": None}, {}], CONFIG, None),
    ]
    for people, config, wanted in cases:
        _, lines, summary = judged(folder, people, config)
        expect(str(people), summary["stops_at"], None if wanted is None else lines[wanted]["entry"])


def conflicts(folder):
    people = [
        {"uid": ["Same"], "mail": ["a@example.com"]},
        {"uid": ["same"], "mail": ["b@example.com"]},
        {"mail": ["c@example.com"]},
        {"mail": ["c@example.com"], "employeeNumber": ["gone"], "uid": ["same"]},
        {"mail": ["D@example.com"]},
        {"mail": ["(x) d @example.com"]},
    ]
    as_served = folder.file("served.yaml", 'listen: ["127.0.0.1:1"]\nupstream: {servers: ["127.0.0.1:2"]}\nrules: {profile: as-served}\n')
    code, lines, summary = judged(folder, people, options=["--config", as_served])
    dns = [line["entry"] for line in lines]
    found = [[(conflict["on"], dns.index(conflict["entry"])) for conflict in line["conflicts"]] for line in lines]
    wanted = [[("handle", 1)], [("handle", 0)], [("externalId", 3)], [("externalId", 2)], [("email", 5)], [("email", 4)]]
    expect("conflicts", found, wanted)
    expect("nothing else is wrong", (code, summary["rule"]), (1, {}))
    expect("counts", summary["conflict"], {"handle": 2, "externalId": 2, "email": 2})


def notes(folder, config, entries=()):
    code, _, summary = judged(folder, entries, config)
    return code, summary["config"]


def config(folder):
    """Each error is reported at its line, with whether the bridge fails to parse the config, fails later, or runs."""
    lines = CONFIG.splitlines()
    cases = [
        (2, "logLevel", '"Info"', "info", "Trace, Debug"),
        (2, "password", '"secret"', "12345", "put it in quotes"),
        (2, "port: 389", "389", '"389"', "without quotes"),
        (2, "port: 389", "389", "389.5", "whole number"),
        (2, "  tls: false", "false", '"no"', "true or false"),
        (2, "codec", "utf8", "utf-8", "utf8, latin1"),
        (2, "deleteOnAttribute", '"gone"', "true", "put it in quotes"),
        (2, "  search", '"inetOrgPerson"', '"inetOrgPerson", active: true', "put it in quotes"),
        (2, "mapping", "userName", "userNome", "userNome"),
        (2, "scimTarget", "host", "hots", "hots"),
        (1, "scimTarget", "Bearer ", "", "Bearer "),
        (1, "scimTarget", TOKEN, TOKEN[:-4], "44 characters"),
        (1, "scimTarget", TOKEN, TOKEN + " ", "white space"),
        (1, "scimTarget", "/scim/v2", "/scim/v2/", "slash"),
        (1, "mapping", '"uid"', '"mail"', "impossible"),
        (0, "scimTarget", "/scim/v2", "/scim", "404"),
        (0, "scimTarget", "wire.example.com", "spar", "bypass"),
        (0, "scimTarget", "tls: true", "tls: false", "unencrypted"),
        (0, "password", "secret", "geheimnß", "ASCII"),
        (0, "logLevel", "Info", "Debug", "personal data"),
        (0, "deleteOnAttribute", '"gone"', '"true"', '"TRUE"'),
        (0, "mapping", '"employeeType"', '"memberOf"', "operational"),
        (0, "mapping", 'email: "mail"', 'emails: "mail"', "`email`"),
        (0, "mapping", "roles:", "role:", "`roles`"),
        (0, "mapping", 'displayName: "displayName", ', "", "displayName is missing"),
        (0, "  search", '"inetOrgPerson"', '"inetOrgPerson", title: "a*"', "wildcards"),
        (0, "codec", '"utf8"', '"utf8"\n  paging: true', "ignores it"),
    ]
    for wanted, start, old, new, part in cases:
        at = next(at for at, text in enumerate(lines) if text.startswith(start) or text.strip().startswith(start))
        changed = lines.copy()
        expect(f"{start} has {old}", old in changed[at], True)
        changed[at] = changed[at].replace(old, new, 1)
        code, found = notes(folder, "\n".join(changed), [] if wanted == 0 else [{}])
        what = f"{start}: {old} -> {new}"
        fitting = [note for note in found if part in note["message"]]
        if not fitting:
            raise AssertionError(f"{what}: {found}")
        line = 10 if "\n" in new else at + 1
        # A missing key is reported at the beginning of its section.
        expect(what, fitting[0]["line"] in (line, at + 1), True)
        expect(f"{what}: exit code", code, wanted)
        severity = {0: "warning", 1: "error", 2: "unreadable"}[wanted]
        expect(what, fitting[0]["severity"], severity)
    several = CONFIG.replace('"utf8"', '"x"').replace('"Info"', '"x"').replace("port: 389", "port: x")
    expect("all at once", len(notes(folder, several)[1]), 3)
    for text in ["", "a: [", f"{CONFIG}---\n{CONFIG}"]:
        expect(repr(text[:10]), notes(folder, text)[0], 2)
    aliased = CONFIG.replace('displayName: "displayName"', "displayName: &d displayName") + "x: {<<: {y: *d}}\n"
    code, found = notes(folder, aliased, [])
    expect("anchors", (code, [note["message"][:1] for note in found if note["severity"] != "warning"]), (0, []))
    twice = CONFIG.replace('codec: "utf8"', 'codec: "x"\n  codec: "utf8"')
    expect("the last of equal keys counts", notes(folder, twice, [{}])[0], 0)


def spelling(folder):
    """Attributes that a server would return under another name are detected in the entries."""
    code, found = notes(folder, CONFIG.replace('"displayName"', '"displayname"'), [{}, {}])
    contains("spelling", str(found), "2 entries have only displayName")
    fault = {"displayName": None, "displayName;lang-de": ["Jörg"]}
    contains("options", str(notes(folder, CONFIG, [fault])[1]), "1 entries have only displayName;lang-de")
    contains("limit", str(notes(folder, CONFIG, [{}] * 500)[1]), "exactly 500 entries")


def no_secret_is_shown(folder):
    """Neither the password nor the token is printed, whatever is wrong with them."""
    for password, token in [("SesamÖffneDich1", f"Bearer {TOKEN}\\n"), ("SesamOeffneDich1", f"bearer  {TOKEN[:-3]}")]:
        text = CONFIG.replace("secret", password).replace(f"Bearer {TOKEN}", token).replace('codec: "utf8"', "codec: 5")
        path = folder.file("bridge.yaml", text)
        for form in ("table", "json", "csv"):
            _, out, err = run("--bridge-config", path, "--ldif", folder.file("x.ldif", b""), "--format", form)
            for secret in (password, TOKEN[:20]):
                expect(f"{secret} in {form}", secret in out + err, False)


def every_fault(folder):
    """A thousand people, at least one with each fault."""
    ldif, bridge = folder.file("people.ldif", b"".join(directory(1000))), folder.file("bridge.yaml", CONFIG)
    code, lines, err = preflight("--bridge-config", bridge, "--ldif", ldif, "--propose")
    summary = lines.pop()["summary"]
    expect("exit code and errors", (code, err), (1, ""))
    by_number = {int(line["entry"].split(",")[0].split(" ")[1]): line for line in lines}
    at = {name: by_number.get(number + 10) for number, (name, _) in enumerate(FAULTS + STOPS)}
    for name, rule in [
        ("upn", "user.user_name"),
        ("capitals", "user.user_name.case"),
        ("umlaut", "user.user_name"),
        ("blank", "user.user_name"),
        ("short", "user.user_name"),
        ("long handle", "user.user_name"),
        ("reserved", "user.user_name.reserved"),
        ("long name", "user.display_name"),
        ("empty name", "user.display_name"),
        ("no name", "user.display_name.required"),
        ("role", "user.roles"),
        ("role in capitals", "user.roles"),
    ]:
        expect(name, (at[name]["class"], at[name]["ok"], at[name]["rule"]), ("keep", False, rule))
    for name, on in [("same handle 1", "handle"), ("same address 2", "email"), ("same externalId 2", "externalId")]:
        contains(name, str(at[name]["conflicts"]), on)
    expect("leavers", [at[name]["class"] for name in ("marked as leaver", "moved to leavers")], ["leave"] * 2)
    expect("skipped", [at[name]["class"] for name in ("no address", "invalid UTF-8 in a name")], ["skip"] * 2)
    expect("outside", [at["a service"], at["another class"]], [None] * 2)
    expect("sent", at["canonical address"]["user"]["emails"], [{"value": f"canonical{10 + 24}@example.com"}])
    expect("stops", [at[name]["class"] for name, _ in STOPS], ["stop"] * len(STOPS))
    expect("stops at", summary["stops_at"], at["invalid UTF-8 in mail"]["entry"])
    proposals = [line["proposal"] for line in lines if line["proposal"]]
    expect("proposals differ", len(set(proposals)), len(proposals))
    refused = [line for line in lines if line["ok"] is False]
    expect("each refused one has a proposal", [line for line in refused if not line["proposal"]], [])
    counted = {name: sum(line["class"] == name for line in lines) for name in summary["class"]}
    expect("counts", (summary["class"], summary["entries"], summary["outside"]), (counted, 998, 2 + 4))
    code, out, err = run("--bridge-config", bridge, "--ldif", ldif, "--propose")
    expect("table", (code, err), (1, ""))
    contains("table", out, "WHAT STOPS THE BRIDGE", "user.user_name.reserved", "->  joerg.mueller12", "TO DO")
