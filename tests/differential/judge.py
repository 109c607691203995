"""A slow reference implementation in Python of how Wire reads SCIM payloads, for comparison with faster code.

judge.JUDGE[kind](raw, release) gives Wire's verdict for the kinds user, patch, group, filter and group_filter; for users
and patches in both identity modes. The release is "5.34" (and older; the default), "5.35" (and newer), or "any": accepted
if either release accepts, with the values of the newest that does; otherwise the newer release's error. A PATCH is applied
to a stored user, sample() by default. judge.determined(kind, raw, release, mode) is the verdict that follows from the
request alone: "refuse", "accept", or "depends" if it depends on the stored user.
"""

import re
import itertools

RELEASES = ("5.34", "5.35")


def known(release):
    """the release of RELEASES that behaves like this one"""
    if release == "any" or release in RELEASES:
        return release
    return RELEASES[tuple(map(int, release.split(".")[:2])) >= (5, 35)]


PATCHOP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
WIRE1 = "urn:ietf:params:scim:schemas:extension:wire:1.0:User"
WIRE2 = "urn:wire:scim:schemas:profile:1.0"


class Num:
    def __init__(s, t):
        s.t = t


class Obj:
    def __init__(s, p):
        s.p = p


class Bad(Exception):
    pass  # parse stage, plain text 400


class Rule(Exception):
    def __init__(s, status, st, msg=""):
        s.status, s.st, s.msg = status, st, msg


# ---------- JSON ----------
NUM = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
WS = re.compile(r"[ \t\r\n]*")
# control characters are refused only before the first backslash or non-ASCII character of a string
STR = re.compile(
    r'"([\x20\x21\x23-\x5b\x5d-\x7f]*(?:(?=[\\\x80-\U0010ffff])(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)?)"'
)
ESC = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


def pstr(s, i):
    m = STR.match(s, i)
    if not m:
        raise Bad("string")
    t = m.group(1)
    if "\\" in t:
        out = []
        j = 0
        while j < len(t):
            c = t[j]
            if c != "\\":
                out.append(c)
                j += 1
                continue
            e = t[j + 1]
            if e != "u":
                out.append(ESC[e])
                j += 2
                continue
            h = int(t[j + 2 : j + 6], 16)
            j += 6
            if 0xD800 <= h < 0xDC00:
                if t[j : j + 2] != "\\u":
                    raise Bad("surrogate")
                l = int(t[j + 2 : j + 6], 16)
                if not 0xDC00 <= l < 0xE000:
                    raise Bad("surrogate")
                out.append(chr(0x10000 + ((h - 0xD800) << 10) + (l - 0xDC00)))
                j += 6
            elif 0xDC00 <= h < 0xE000:
                raise Bad("surrogate")
            else:
                out.append(chr(h))
        t = "".join(out)
    return t, m.end()


def loads(raw):
    try:
        s = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("utf8")
    n = len(s)

    def ws(i):
        return WS.match(s, i).end()

    stack = []
    i = ws(0)
    # iterative
    while True:
        # expect a value at i
        if i >= n:
            raise Bad("eof")
        c = s[i]
        done = False
        if c == "{":
            i = ws(i + 1)
            if s[i : i + 1] == "}":
                v = Obj([])
                i += 1
                done = True
            else:
                k, i = pstr(s, i)
                i = ws(i)
                if s[i : i + 1] != ":":
                    raise Bad(":")
                i = ws(i + 1)
                stack.append(["o", [], k])
        elif c == "[":
            i = ws(i + 1)
            if s[i : i + 1] == "]":
                v = []
                i += 1
                done = True
            else:
                stack.append(["a", []])
        else:
            done = True
            if c == '"':
                v, i = pstr(s, i)
            elif s.startswith("true", i):
                v = True
                i += 4
            elif s.startswith("false", i):
                v = False
                i += 5
            elif s.startswith("null", i):
                v = None
                i += 4
            else:
                m = NUM.match(s, i)
                if not m:
                    raise Bad("value")
                v = Num(m.group())
                i = m.end()
        while done:
            i = ws(i)
            if not stack:
                if i != n:
                    raise Bad("trailing")
                return v
            top = stack[-1]
            c = s[i : i + 1]
            if top[0] == "a":
                top[1].append(v)
                if c == ",":
                    i = ws(i + 1)
                    done = False
                elif c == "]":
                    v = top[1]
                    stack.pop()
                    i += 1
                else:
                    raise Bad("array")
            else:
                top[1].append((top[2], v))
                if c == ",":
                    i = ws(i + 1)
                    top[2], i = pstr(s, i)
                    i = ws(i)
                    if s[i : i + 1] != ":":
                        raise Bad(":")
                    i = ws(i + 1)
                    done = False
                elif c == "}":
                    v = Obj(top[1])
                    stack.pop()
                    i += 1
                else:
                    raise Bad("object")


def exact(o):
    d = {}
    for k, v in o.p:
        d.setdefault(k, v)
    return d


def folded(o):
    d = exact(o)
    r = {}
    for k in sorted(d):
        r[k.casefold()] = d[k]
    return r


# ---------- helpers ----------
def otext(d, k):
    v = d.get(k)
    if v is None or isinstance(v, str):
        return v
    raise Bad(k)


def obool(d, k):
    v = d.get(k)
    if v is None or isinstance(v, bool):
        return v
    if isinstance(v, str) and v.casefold() in ("true", "false"):
        return v.casefold() == "true"
    raise Bad(k)


def olist(d, k):
    v = d.get(k)
    if v is None:
        return []
    if isinstance(v, list):
        return v
    raise Bad(k)


def oobj(v):
    if isinstance(v, Obj):
        return folded(v)
    raise Bad("object")


# ---------- URI (RFC 3986, fragment allowed) ----------
un = "[A-Za-z0-9._~-]"
pe = "%[0-9A-Fa-f]{2}"
sd = "[!$&'()*+,;=]"
pchar = f"(?:{un}|{pe}|{sd}|[:@])"
dec = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})"
v4 = rf"{dec}(?:\.{dec}){{3}}"
h16 = "[0-9A-Fa-f]{1,4}"
ls32 = f"(?:{h16}:{h16}|{v4})"
v6 = (
    "(?:"
    + "|".join(
        [f"(?:{h16}:){{6}}{ls32}", f"::(?:{h16}:){{5}}{ls32}"]
        + [f"(?:(?:{h16}:){{0,{k}}}{h16})?::(?:{h16}:){{{4-k}}}{ls32}" for k in range(0, 5)]
        + [f"(?:(?:{h16}:){{0,5}}{h16})?::{h16}", f"(?:(?:{h16}:){{0,6}}{h16})?::"]
    )
    + ")"
)
host = rf"(?:\[(?:{v6}(?:%25(?:{un}|{pe})+)?|v[0-9A-Fa-f]\.(?:{un}|{sd})+)\]|(?:{un}|{pe}|{sd})*)"
auth = f"(?:(?:{un}|{pe}|{sd}|:)*@)?{host}(?::[0-9]*)?"
hier = f"(?://{auth}(?:/{pchar}*)*|/(?:{pchar}+(?:/{pchar}*)*)?|{pchar}+(?:/{pchar}*)*|)"
URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{hier}(?:\?(?:{pchar}|[/?])*)?(?:#(?:{pchar}|[/?])*)?")


def uri(v):
    if isinstance(v, str) and URI.fullmatch(v):
        return v
    raise Bad("uri")


# ---------- email: grammar of email-validate ----------
ALNUM = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
ATEXT = ALNUM | set("!#$%&'*+/=?^_`{|}~-")
CTL = set(chr(c) for c in list(range(1, 9)) + [11, 12] + list(range(14, 32)) + [127])
QTEXT = set(chr(c) for c in [33] + list(range(35, 92)) + list(range(93, 127))) | CTL
CTEXT = set(chr(c) for c in list(range(33, 40)) + list(range(42, 92)) + list(range(93, 127))) | CTL
DTEXT = set(chr(c) for c in list(range(33, 91)) + list(range(94, 127))) | CTL
QPAIR = set(map(chr, range(0, 128)))


def wsp1(s, i):
    j = i
    while j < len(s) and s[j] in " \t":
        j += 1
    return j if j > i else None


def fws(s, i):
    """one folding space: blanks [CRLF blanks], or (CRLF blanks)+; None if absent"""
    j = wsp1(s, i)
    if j is not None:
        if s.startswith("\r\n", j):
            k = wsp1(s, j + 2)
            if k is not None:
                return k
        return j
    k = None
    while s.startswith("\r\n", i):
        j = wsp1(s, i + 2)
        if j is None:
            break
        i = k = j
    return k


def comment(s, i):
    if s[i : i + 1] != "(":
        return None
    d = 0
    while i < len(s):
        c = s[i]
        if c == "(":
            d += 1
            i += 1
        elif c == ")":
            d -= 1
            i += 1
            if d == 0:
                return i
        elif c == "\\":
            if i + 1 < len(s) and s[i + 1] in QPAIR:
                i += 2
            else:
                return None
        elif c in CTEXT:
            i += 1
        else:
            j = fws(s, i)
            if j is None:
                return None
            i = j
    return None


def cfws(s, i):
    while True:
        j = comment(s, i)
        if j is None:
            j = fws(s, i)
        if j is None:
            return i
        i = j


def fwsopt(s, i):
    j = fws(s, i)
    return i if j is None else j


def quoted(s, i):
    if s[i : i + 1] != '"':
        return None
    out = ['"']
    i += 1
    while True:
        j = fwsopt(s, i)
        c = s[j : j + 1]
        if c == '"':
            return "".join(out) + '"', j + 1
        if c and c in QTEXT:
            while j < len(s) and s[j] in QTEXT:
                out.append(s[j])
                j += 1
        elif c == "\\" and s[j + 1 : j + 2] and s[j + 1] in QPAIR:
            out.append(s[j : j + 2])
            j += 2
        else:
            return None
        i = j


def email(s):
    if not isinstance(s, str):
        return None
    loc = []
    i = 0
    while True:
        i = cfws(s, i)
        q = quoted(s, i)
        if q:
            loc.append(q[0])
            i = q[1]
        else:
            j = i
            while j < len(s) and s[j] in ATEXT:
                j += 1
            if j == i:
                return None
            loc.append(s[i:j])
            i = j
        i = cfws(s, i)
        if s[i : i + 1] == ".":
            i += 1
            continue
        break
    l = ".".join(loc)
    if len(l) > 64 or s[i : i + 1] != "@":
        return None
    i = cfws(s, i + 1)
    if s[i : i + 1] == "[":
        out = []
        i += 1
        while True:
            j = fwsopt(s, i)
            c = s[j : j + 1]
            if c == "]":
                i = j + 1
                break
            if not c or c not in DTEXT:
                return None
            while j < len(s) and s[j] in DTEXT:
                out.append(s[j])
                j += 1
            i = j
        d = "[" + "".join(out) + "]"
        i = cfws(s, i)
    else:
        labels = []
        while True:
            i0 = i
            i = cfws(s, i)
            j = i
            if s[j : j + 1] and s[j] in ALNUM:
                while j < len(s) and (s[j] in ALNUM or s[j] == "-"):
                    j += 1
            lab = s[i:j]
            if not lab or len(lab) > 63 or lab[-1] == "-":
                if not labels:
                    return None
                i = i0
                break  # the dot before was the trailing one
            labels.append(lab)
            i = cfws(s, j)
            if s[i : i + 1] == ".":
                i += 1
                continue
            break
        d = ".".join(labels)
        if len(d) > 253:
            return None
    if i != len(s):
        return None
    if len(l) + 1 + len(d) > 254:
        return None
    return l + "@" + d


# ---------- language ----------
ISO = set(
    """aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu""".split()
)


# ---------- rich info ----------
def rich_map(v):
    if not isinstance(v, Obj):
        raise Bad("map")
    out = []
    for k, x in exact(v).items():
        if not isinstance(x, str):
            raise Bad("map")
        out.append((k, x))
    return out


def rich_list(v):
    if not isinstance(v, Obj):
        raise Bad("rich")
    d = folded(v)
    if "richinfo" not in d:
        raise Bad("richinfo")
    r = d["richinfo"]

    def fields(l):
        if not isinstance(l, list):
            raise Bad("fields")
        out = []
        for e in l:
            if not isinstance(e, Obj):
                raise Bad("field")
            f = exact(e)
            if not isinstance(f.get("type"), str) or not isinstance(f.get("value"), str):
                raise Bad("field")
            out.append((f["type"], f["value"]))
        return out

    if isinstance(r, list):
        return fields(r)
    if isinstance(r, Obj):
        f = folded(r)
        ver = f.get("version")
        if not isinstance(ver, Num) or re.match(r"-?[0.]*(?:[eE]|$)", ver.t) is None:
            raise Bad("version")
        if "fields" not in f:
            raise Bad("fields")
        o = fields(f["fields"])
        ks = [k.casefold() for k, _ in o]
        if len(set(ks)) != len(ks):
            raise Bad("dup")
        return rich_norm(o)
    raise Bad("richinfo")


def kf(k):
    return k.casefold()


def rich_norm(l):
    seen = set()
    out = []
    for k, v in l:
        if v == "":
            continue
        f = k.casefold().casefold().lower()
        if f in seen:
            continue
        seen.add(f)
        out.append((k, v))
    return out


def rich_merge(mp, ls):
    m = {}
    for k, v in sorted(mp):
        m[kf(k)] = (k, v)
    ls = list(ls)
    for c in sorted(m):
        for i, (k, _) in enumerate(ls):
            if kf(k) == c:
                ls[i] = m[c]
                break
        else:
            ls.append(m[c])
    return rich_norm(ls)


# ---------- user ----------
class U:
    pass


def mail(v):
    """one entry of emails: (canonical address, type, primary); type and primary may be None"""
    o = oobj(v)
    a = email(o.get("value"))
    if a is None:
        raise Bad("email")
    return a, otext(o, "type"), obool(o, "primary")


def parse_user(d):
    u = U()
    for s in olist(d, "schemas"):
        if not isinstance(s, str):
            raise Bad("schemas")
    if not isinstance(d.get("username"), str):
        raise Bad("userName")
    u.userName = d["username"]
    for a in ("externalId", "displayName", "nickName", "title", "userType", "preferredLanguage", "locale", "password"):
        setattr(u, a, otext(d, a.lower()))
    if d.get("profileurl") is not None:
        uri(d["profileurl"])
    u.active = obool(d, "active")
    if d.get("name") is not None:
        nm = oobj(d["name"])
        for k in ("formatted", "familyname", "givenname", "middlename", "honorificprefix", "honorificsuffix"):
            otext(nm, k)
    u.emails = [mail(e) for e in olist(d, "emails")]
    for k in ("phonenumbers", "ims", "x509certificates"):
        for e in olist(d, k):
            o = oobj(e)
            otext(o, "type")
            otext(o, "value")
    for e in olist(d, "photos"):
        o = oobj(e)
        otext(o, "type")
        if o.get("value") is not None:
            uri(o["value"])
    for e in olist(d, "addresses"):
        o = oobj(e)
        for k in ("formatted", "streetaddress", "locality", "region", "postalcode", "country", "type"):
            otext(o, k)
        obool(o, "primary")
    u.roles = olist(d, "roles")
    for l in (u.roles, olist(d, "entitlements")):
        if not all(isinstance(x, str) for x in l):
            raise Bad("roles")
    mp, ls = [], []
    if WIRE1.casefold() in d:
        mp = rich_map(d[WIRE1.casefold()])
    if WIRE2.casefold() in d:
        ls = rich_list(d[WIRE2.casefold()])
    u.rich = rich_merge(mp, ls)
    return u


def validate(u, mode, release="5.34"):
    if u.password is not None:
        raise Rule(400, "invalidValue", "password")
    if release != "5.34" and sum(p is True for a, t, p in u.emails) > 1:
        raise Rule(400, "invalidValue", "more than one primary")
    if u.externalId is None:
        raise Rule(400, "invalidValue", "externalId")
    em = None
    if u.emails:
        em = next((a for a, t, p in u.emails if p), u.emails[0][0])
    else:
        em = email(u.externalId)
        if em is None and mode == "email":
            raise Rule(400, "invalidValue", "externalId email")
    h = u.userName.lower()
    if not re.fullmatch("[a-z0-9_.-]{2,256}", h):
        raise Rule(400, "invalidValue", "handle")
    if u.displayName is not None:
        name = u.displayName
    elif mode == "email":
        name = em
    else:
        name = email(u.externalId) or u.externalId
    if not 1 <= len(name) <= 128:
        raise Rule(400, "invalidValue", "name")
    if sum(len(k) + len(v) for k, v in u.rich) > 5000:
        raise Rule(413, "invalidValue", "rich")
    loc = None
    if u.preferredLanguage is not None:
        p = u.preferredLanguage[:2].replace("\u017f", "s").replace("\u0131", "i")
        if p not in ISO:
            raise Rule(400, "invalidValue", "language")
        loc = p
    if len(u.roles) > 1:
        raise Rule(400, "invalidValue", "roles")
    if u.roles and u.roles[0] not in ("owner", "admin", "member", "partner"):
        raise Rule(400, "invalidValue", "roles")
    return {
        "handle": h,
        "name": name,
        "externalId": u.externalId,
        "emails": [em] if em else [],
        "role": u.roles[0] if u.roles else None,
        "active": True if u.active is None else u.active,
        "locale": loc,
        "richInfo": [list(x) for x in u.rich],
    }


MODES = ("email", "saml")


def both(f, release="5.34"):
    def at(m, r):
        try:
            return {"ok": True, "reading": f(m, r)}
        except Bad as e:
            return {"ok": False, "status": 400, "scimType": None, "stage": "parse", "error": str(e)}
        except Rule as e:
            return {"ok": False, "status": e.status, "scimType": e.st, "stage": "rule", "error": e.msg}

    release = known(release)
    out = {}
    for m in MODES:
        vs = [at(m, r) for r in ((release,) if release != "any" else RELEASES[::-1])]
        out[m] = next((v for v in vs if v["ok"]), vs[0])
    return out


def judge_user(raw, release="5.34"):
    def f(m, r):
        return validate(parse_user(oobj(loads(raw))), m, r)

    return both(f, release)


# ---------- filter / path ----------
OPS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")
SPC = " \t\n\v\f\r"
A1 = "[A-Za-z][A-Za-z0-9_-]*"
PNAME = re.compile(f"({A1})(?:\\.({A1}))?")


def literal(s, i):
    for w, v in (("null", None), ("true", True), ("false", False)):
        if (s[i : i + len(w)] if w == "null" else s[i : i + len(w)].lower()) == w and s[i : i + len(w)].isascii():
            return v, i + len(w)
    m = re.compile("[+]?").match(s, i)
    m = NUM.match(s, m.end()) if not s.startswith("+-", i) else None
    if m:
        return Num(m.group()), m.end()
    return pstr(s, i)


def attrpath(s, i, urns):
    u = None
    for x in urns:
        if s.startswith(x + ":", i):
            u = x
            i += len(x) + 1
            break
    m = PNAME.match(s, i)
    if not m:
        raise Bad("path")
    return (u, m.group(1), m.group(2)), m.end()


def skip1(s, i):
    j = i
    while j < len(s) and s[j] in SPC:
        j += 1
    if j == i:
        raise Bad("space")
    return j


def compare_at(s, i, urns):
    a, i = attrpath(s, i, urns)
    i = skip1(s, i)
    op = s[i : i + 2].lower()
    if op not in OPS or not s[i : i + 2].isascii():
        raise Bad("op")
    i = skip1(s, i + 2)
    v, i = literal(s, i)
    return (a, op, v), i


def compare(s, urns):
    s = s.strip(SPC)
    r, i = compare_at(s, 0, urns)
    if i != len(s):
        raise Bad("trailing")
    return r


def one(f):
    try:
        return dict(ok=True, **(f() or {}))
    except Bad as e:
        return {"ok": False, "status": 400, "scimType": None, "error": str(e)}
    except Rule as e:
        return {"ok": False, "status": e.status, "scimType": e.st, "error": e.msg}


def dec(raw):
    return raw.decode("utf-8", "replace")  # as Wire: U+FFFD, harmless inside the string


def judge_filter(raw, release="5.34"):
    def f():
        (u, n, sub), op, v = compare(dec(raw), [CORE])
        if op != "eq" or not isinstance(v, str) or n.lower() not in ("username", "externalid"):
            raise Rule(400, "invalidFilter")

    return one(f)


def judge_group_filter(raw, release="5.34"):
    def f():
        (u, n, sub), op, v = compare(dec(raw), [CORE])
        if op != "co" or not isinstance(v, str) or sub or n.lower() != "displayname":
            raise Rule(500, None)

    return one(f)


UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def judge_group(raw, release="5.34"):
    def f():
        d = oobj(loads(raw))
        for k in ("schemas", "members"):
            if not isinstance(d.get(k), list):
                raise Bad(k)
        if not all(isinstance(x, str) for x in d["schemas"]):
            raise Bad("schemas")
        if not isinstance(d.get("displayname"), str):
            raise Bad("displayName")
        ms = []
        for m in d["members"]:
            o = oobj(m)
            for k in ("value", "type", "$ref"):
                if not isinstance(o.get(k), str):
                    raise Bad(k)
            ms.append(o["value"])
        if not 1 <= len(d["displayname"]) <= 4000:
            raise Rule(400, "invalidValue", "displayName")
        for v in ms:
            if not UUID.fullmatch(v):
                raise Rule(400, "invalidValue", "member")

    return one(f)


# ---------- patch ----------
URNS = [CORE, WIRE2, WIRE1]


def parse_path(s):
    a, i = attrpath(s, 0, URNS)
    if s[i : i + 1] == "[":
        flt, i = compare_at(s, i + 1, URNS)
        if s[i : i + 1] != "]":
            raise Bad("path")
        i += 1
        m = re.compile("\\.(" + A1 + ")").match(s, i)
        if m:
            i = m.end()
        if i != len(s):
            raise Bad("path")
        return "value", a, flt, m and m.group(1)
    if i != len(s):
        raise Bad("path")
    return ("attr",) + a


def parse_patch(raw):
    d = oobj(loads(raw))
    sc = d.get("schemas")
    if not isinstance(sc, list) or not all(isinstance(x, str) for x in sc) or PATCHOP not in sc:
        raise Bad("schemas")
    ops = d.get("operations")
    if not isinstance(ops, list):
        raise Bad("Operations")
    out = []
    for o in ops:
        o = oobj(o)
        op = o.get("op")
        if not isinstance(op, str) or op.lower() not in ("add", "replace", "remove"):
            raise Bad("op")
        p = o.get("path")
        if p is not None:
            if not isinstance(p, str):
                raise Bad("path")
            p = parse_path(p)
        out.append((op.lower(), p, o.get("value")))
    return out


SUP = ("username", "displayname", "externalid", "active", "roles")


def sample():
    u = U()
    u.userName = "sample"
    u.displayName = "Sample User"
    u.externalId = "sample@example.com"
    u.emails = [("sample@example.com", None, None)]
    u.active = True
    u.preferredLanguage = "en"
    u.roles = ["member"]
    u.password = None
    u.rich = [("Dept", "Ops")]
    return u


IV = lambda m: Rule(400, "invalidValue", m)
CMP = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "co": lambda a, b: b in a,
    "sw": str.startswith,
    "ew": str.endswith,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


def matches(flt, e):
    """does an emails entry match? URN and sub-attribute of the name are ignored; values that can't be compared match nothing"""
    (_, n, _), op, v = flt
    n = n.lower()
    a, t, p = e
    if n in ("type", "value") and isinstance(v, str):
        return CMP[op]((t or "") if n == "type" else a, v)
    if n == "primary" and isinstance(v, bool) and op in ("eq", "ne"):
        return (p is v) == (op == "eq")
    return False


def apply_value_path(u, op, p, v):
    """5.35 and newer; URN and sub-attribute before the bracket are ignored"""
    _, (_, n, _), flt, sub = p
    n = n.lower()
    sub = sub and sub.lower()
    hit = lambda: any(matches(flt, e) for e in u.emails)
    if op != "remove" and v is None:
        raise IV("No value was provided")
    if n != "emails":
        raise Rule(400, "invalidPath", "value path on " + n)
    if op == "remove":
        u.emails = [e for e in u.emails if not matches(flt, e)]
        return
    if sub not in (None, "value", "type", "primary"):
        raise Rule(400, "invalidPath", "sub-attribute of emails")
    try:
        if sub == "value":
            new = email(v)
        elif sub == "type":
            new = otext({"type": v}, "type")
        elif sub == "primary":
            new = obool({"primary": v}, "primary")
        else:
            new = [mail(e) for e in (v if isinstance(v, list) else [v])]
    except Bad as e:
        raise IV(str(e))
    if new is None:
        raise IV("email")
    if sub is None:
        for e1 in reversed(new):  # the last of a list goes in first
            u.emails = [e1 if matches(flt, e) else e for e in u.emails] if hit() else u.emails + [e1]
    elif hit():
        u.emails = [
            (
                e
                if not matches(flt, e)
                else (
                    new if sub == "value" else e[0],
                    new if sub == "type" else e[1],
                    new if sub == "primary" else e[2],
                )
            )
            for e in u.emails
        ]
    elif sub == "value" and flt[0][1].lower() == "type" and flt[1] == "eq" and isinstance(flt[2], str):
        u.emails = u.emails + [(new, flt[2], None)]


def apply(u, op, p, v, release="5.34"):
    if p and p[0] == "value":
        if release == "5.34":
            raise Rule(400, "invalidPath", "multi")
        return apply_value_path(u, op, p, v)
    if p and p[1] in (WIRE1, WIRE2):
        _, urn, n, sub = p
        if sub:
            raise IV("sub-attribute of rich info")
        if op != "remove" and not isinstance(v, str):
            raise IV("text")
        hit = [i for i, (k, _) in enumerate(u.rich) if kf(k) == kf(n)]
        if op == "remove":
            u.rich = [x for x in u.rich if kf(x[0]) != kf(n)]
        elif hit:
            u.rich = [(n, v) if kf(k) == kf(n) else (k, w) for k, w in u.rich]
        else:
            u.rich = u.rich + [(n, v)]
        if urn == WIRE1:
            u.rich = sorted(u.rich, key=lambda x: kf(x[0]))
        u.rich = rich_norm(u.rich)
        return
    if op == "remove":
        if p is None:
            raise Rule(400, "noTarget")
        _, urn, n, sub = p
        n2 = n.lower()
        if n2 == "username":
            raise Rule(400, "mutability")
        elif n2 == "displayname":
            u.displayName = None
        elif n2 == "externalid":
            u.externalId = None
        elif n2 == "active":
            u.active = None
        elif n2 == "roles":
            u.roles = []
        return
    if v is None:
        raise IV("No value was provided")
    if p is None:
        if not isinstance(v, Obj):
            raise Rule(400, "invalidPath")
        ks = [k.casefold() for k in exact(v)]
        if len(set(ks)) != len(ks) or any(k not in SUP for k in ks):
            raise Rule(400, "invalidPath")
        try:
            n = parse_user(folded(v))
        except Bad as e:
            raise IV(str(e))
        u.userName, u.displayName, u.externalId, u.active = n.userName, n.displayName, n.externalId, n.active
        return
    _, urn, n, sub = p
    n2 = n.lower()
    if n2 in ("username", "displayname", "externalid"):
        if not isinstance(v, str):
            raise IV("text")
        setattr(u, {"username": "userName", "displayname": "displayName", "externalid": "externalId"}[n2], v)
    elif n2 == "active":
        try:
            u.active = obool({"a": v}, "a")
        except Bad:
            raise IV("active")
    elif n2 == "roles":
        if not isinstance(v, list) or not all(isinstance(x, str) for x in v):
            raise IV("roles")
        u.roles = v
    else:
        raise Rule(400, "invalidPath")


def judge_patch(raw, release="5.34", stored=sample):
    def f(m, r):
        ops = parse_patch(raw)
        u = stored()
        for o in ops:
            apply(u, *o, r)
        return validate(u, m, r)

    return both(f, release)


# ---------- verdicts that follow from the request alone ----------
# "For every stored user" is checked on representatives of every kind of stored user that the request can distinguish:
# emails with up to three entries and at most one primary (Wire keeps one: read up to 5.34, likely later), with and without
# address in externalId, address or externalId too long for a default name, rich info empty or at its limit, both identity modes.
KEEP = object()
LONG = "l" * 64 + "@" + "m" * 60 + "." + "n" * 60
EXT = ("sample@example.com", "sid-1", LONG, "x" * 200, "")
FULL = [("\0", "x" * 4999)]


def near(consts):
    for s in consts:
        yield from (s, s[:-1], s + "~", "~" + s, "~" + s + "~", "\0" + s, s + "\0")
        for t in consts:
            yield from (s + t, s + "~" + t)


def near_mail(consts):
    pre, post = ("", "a", "~", "a@", "a@b.", "a@b", '"'), ("", "a", "@b", "~@b", "a@b", ".b", '"@b', '"')
    for s in consts:
        for t in [None] + consts:
            for x in ([s] if t is None else [s + g + t for g in ("", "a", "@", "a@", "a@a")]):
                for c in itertools.product(pre, post):
                    c = c[0] + x + c[1]
                    if email(c) == c:
                        yield c


def one_by_one(ops):
    """an array written through a value path is equivalent to its elements in reverse order"""
    for op, p, v in ops:
        if p and p[0] == "value" and p[3] is None and op != "remove" and isinstance(v, list):
            yield from ((op, p, [e]) for e in reversed(v))
        else:
            yield op, p, v


def stored_emails(ops):
    ps = [(op, p, v) for op, p, v in ops if p and p[0] == "value"]
    texts = lambda n: sorted({f[2] for _, (_, _, f, _), _ in ps if f[0][1].lower() == n and isinstance(f[2], str)})[:6]
    types = [None, "", "work"] + list(near(texts("type")))
    addrs = ["sample@example.com", LONG, "!@0", "~@z"] + list(near_mail(texts("value")))
    kinds = {}
    for e in itertools.product(dict.fromkeys(addrs), dict.fromkeys(types), (None, False, True)):
        u = U()
        cur = e
        way = []
        for o in ps:
            hit = cur is not None and matches(o[1][2], cur)
            way.append(hit)
            if hit:
                u.emails = [cur]
                apply_value_path(u, *o)
                cur = u.emails[0] if u.emails else None
        kinds.setdefault((e[2], tuple(way), cur and (len(cur[0]) > 128, cur[2])), e)
    es = list(kinds.values())
    for n in range(4 if len(es) <= 16 else 3):
        for l in itertools.product(es, repeat=n) if n < 3 else itertools.combinations_with_replacement(es, n):
            if sum(p is True for a, t, p in l) < 2:
                yield list(l)


def outcomes(ops, live, modes):
    for rich in ([], FULL) if any(p and p[1] in (WIRE1, WIRE2) for _, p, _ in ops) else ([],):
        for l in stored_emails(ops):
            us = []
            for r in live:
                u = sample()
                u.emails, u.externalId, u.rich = l, KEEP, rich
                for o in ops:
                    apply(u, *o, r)
                us.append((u, r, u.externalId))
            for m in modes:
                for x in EXT:
                    if m == "email" and not l and not email(x):
                        continue
                    ok = False
                    for u, r, e in us:
                        u.externalId = x if e is KEEP else e
                        try:
                            validate(u, m, r)
                            ok = True
                        except Rule:
                            pass
                    yield ok


def determined(kind, raw, release="5.34", mode=None):
    """'refuse': Wire refuses for every stored user; 'accept': for none (except for taken or reserved names and unknown ids); else 'depends'.
    mode: email or saml; None: either may be the token's"""
    modes = (mode,) if mode else MODES
    if kind != "patch":
        v = JUDGE[kind](raw, release)
        seen = {v[m]["ok"] for m in modes} if kind == "user" else {v["ok"]}
    else:
        release = known(release)
        live = []
        try:
            ops = parse_patch(raw)
        except Bad:
            return "refuse"
        for r in RELEASES if release == "any" else (release,):
            u = sample()
            try:  # whether an operation can be applied never depends on the stored user
                for o in ops:
                    apply(u, *o, r)
                live.append(r)
            except Rule:
                pass
        if not live:
            return "refuse"
        seen = set()
        for ok in outcomes(list(one_by_one(ops)), live, modes):
            seen.add(ok)
            if len(seen) > 1:
                break
    return "depends" if len(seen) > 1 else "accept" if True in seen else "refuse"


JUDGE = {
    "user": judge_user,
    "patch": judge_patch,
    "group": judge_group,
    "filter": judge_filter,
    "group_filter": judge_group_filter,
}
