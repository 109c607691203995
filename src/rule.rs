//! Every rule of the guard, in one table: its id, the HTTP status and `scimType` of its refusal,
//! what it checks, and whether an operator may switch it.
//!
//! A new rule is a variant of [`Rule`], a row of [`TABLE`] at the same position, and one call of
//! `Findings::hit` where the fault is detected. Metrics, documentation and configuration follow
//! from the table.

use std::fmt;

use strum::IntoStaticStr;

/// The `scimType` values of RFC 7644 §3.12 that the guard answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "camelCase", const_into_str)]
pub enum ScimType {
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    TooMany,
}

impl ScimType {
    /// The keyword as it appears in an error body.
    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Whether a rule's action can be changed, and its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// Always enforced, for this reason.
    Fixed(&'static str),
    /// Enforced in every profile, can be switched.
    EveryProfile,
    /// Enforced in the profile `documented` only, can be switched.
    Documented,
    /// Off in every profile until an operator switches it on.
    OptIn,
}

/// A rule of the guard. The variants are in the order of [`TABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rule {
    TargetAmbiguous,
    TargetNotFound,
    TargetTooLong,
    TargetId,
    FramingMessage,
    FramingLength,
    FramingTransferEncoding,
    FramingHost,
    FramingHeader,
    FramingUpgrade,
    MethodNotAllowed,
    HeadersAccept,
    HeadersDuplicate,
    TokenMissing,
    TokenMalformed,
    TokenDuplicate,
    LimitsFailures,
    TokenUnknown,
    TokenExpired,
    TokenNetwork,
    TokenCertificate,
    TokenOperation,
    TokenRefused,
    TokenRate,
    BodyMediaType,
    BodyEncoding,
    BodyTooLarge,
    BodyTimeout,
    JsonSyntax,
    JsonDuplicateKey,
    JsonDepth,
    JsonNumber,
    JsonObject,
    UserSchema,
    UserType,
    UserUserName,
    UserUserNameCase,
    UserUserNameReserved,
    UserDisplayName,
    UserDisplayNameRequired,
    UserExternalIdRequired,
    UserExternalIdEmail,
    UserEmails,
    UserEmailsPrimary,
    UserPassword,
    UserRoles,
    UserLanguage,
    UserRichInfo,
    UserRichInfoSize,
    UserProfileUrl,
    UserTextControl,
    UserTextBidirectional,
    UserTextInvisible,
    UserTextBlank,
    PatchSchema,
    PatchSchemas,
    PatchOperations,
    PatchOp,
    PatchPath,
    PatchValue,
    PatchNoTarget,
    PatchMutability,
    GroupSchema,
    GroupType,
    GroupDisplayName,
    GroupMembers,
    GroupPatch,
    FilterRequired,
    FilterSyntax,
    FilterUnsupported,
    QueryPagination,
    LimitsHeaders,
    LimitsHeaderTimeout,
    LimitsConnections,
    LimitsAddress,
    LimitsBufferedBytes,
    LimitsDescriptors,
    LimitsGroupPatches,
    LimitsAudit,
    LimitsUpgrades,
    LimitsDeprovisioning,
    SharedUnavailable,
    UpstreamConnect,
    UpstreamTls,
    UpstreamAnswer,
    UpstreamTimeout,
    UpstreamThrottled,
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    pub rule: Rule,
    /// The stable name in configuration, metrics, logs and the `Scim-Guard-Rule` header.
    pub id: &'static str,
    /// The HTTP status of a refusal: Wire's own if Wire refuses the same.
    pub status: u16,
    pub scim_type: Option<ScimType>,
    pub enforcement: Enforcement,
    /// What the rule checks, as one sentence for people.
    pub checks: &'static str,
    /// The rule is stricter than Wire by design, so that Wire serves what it refuses.
    pub policy: bool,
    /// How the rule depends on the release of Wire, as one sentence for people.
    pub by_release: Option<&'static str>,
}

impl Entry {
    const fn policy(self) -> Self {
        Self { policy: true, ..self }
    }

    const fn by_release(self, how: &'static str) -> Self {
        Self { by_release: Some(how), ..self }
    }
}

const fn row(
    rule: Rule,
    id: &'static str,
    status: u16,
    scim_type: Option<ScimType>,
    enforcement: Enforcement,
    checks: &'static str,
) -> Entry {
    Entry { rule, id, status, scim_type, enforcement, checks, policy: false, by_release: None }
}

use Enforcement::{Documented, EveryProfile, Fixed, OptIn};
use Rule as R;

const UNREADABLE: Enforcement = Fixed("what it refuses is malformed or ambiguous");
const NOWHERE: Enforcement = Fixed("what it refuses matches nothing that Wire serves");
const LIMIT: Enforcement = Fixed("it keeps a limit; change that one");
const LACK: Enforcement = Fixed("without them nothing can be forwarded");
const BACKEND: Enforcement = Fixed("it answers for a backend that failed");

const FILTER: Option<ScimType> = Some(ScimType::InvalidFilter);
const PATH: Option<ScimType> = Some(ScimType::InvalidPath);
const SYNTAX: Option<ScimType> = Some(ScimType::InvalidSyntax);
const VALUE: Option<ScimType> = Some(ScimType::InvalidValue);

/// All rules, by the part of the request that they check.
#[rustfmt::skip]
pub static TABLE: [Entry; Rule::COUNT] = [
    row(R::TargetAmbiguous, "target.ambiguous", 400, None, UNREADABLE, "The request target is unambiguous: no dot segments, encoded slashes, backslashes, control bytes, `;`, fragment or broken percent-encoding, and it starts with a slash."),
    row(R::TargetNotFound, "target.not_found", 404, None, NOWHERE, "The path is one that Wire serves below /scim/v2."),
    row(R::TargetTooLong, "target.too_long", 414, None, LIMIT, "The request target has at most 8192 bytes."),
    row(R::TargetId, "target.id", 400, VALUE, NOWHERE, "The id in the path is a UUID of the form 8-4-4-4-12."),
    row(R::FramingMessage, "framing.message", 400, None, UNREADABLE, "The request is well-formed HTTP: a request line of three parts, lines that end in CRLF, no control bytes."),
    row(R::FramingLength, "framing.length", 400, None, UNREADABLE, "At most one Content-Length, and it is a plain decimal number."),
    row(R::FramingTransferEncoding, "framing.transfer_encoding", 400, None, UNREADABLE, "Transfer-Encoding is absent, or is `chunked` once and comes without Content-Length."),
    row(R::FramingHost, "framing.host", 400, None, UNREADABLE, "Exactly one Host, and one of the configured hosts if these are configured."),
    row(R::FramingHeader, "framing.header", 400, None, UNREADABLE, "Header names are tokens and header values hold no control bytes."),
    row(R::FramingUpgrade, "framing.upgrade", 400, None, UNREADABLE, "The request does not ask to switch to another protocol, except for WebSocket on paths outside of SCIM that other_paths forwards."),
    row(R::MethodNotAllowed, "method.not_allowed", 405, None, EveryProfile, "Wire serves the method on this path."),
    row(R::HeadersAccept, "headers.accept", 406, None, EveryProfile, "Accept admits application/scim+json or application/json."),
    row(R::HeadersDuplicate, "headers.duplicate", 400, None, UNREADABLE, "Content-Type and Content-Encoding appear at most once where a body is judged."),
    row(R::TokenMissing, "token.missing", 401, None, EveryProfile, "An Authorization header is present."),
    row(R::TokenMalformed, "token.malformed", 401, None, EveryProfile, "Authorization is `Bearer`, one space, and a token of the form that Wire issues: 44 characters of base64."),
    row(R::TokenDuplicate, "token.duplicate", 400, None, UNREADABLE, "There is one Authorization header only."),
    row(R::LimitsFailures, "limits.failures", 429, None, EveryProfile, "No more requests with invalid tokens come from one address than shield.failures allows, if addresses are counted (shield.by_address)."),
    row(R::TokenUnknown, "token.unknown", 401, None, EveryProfile, "The token is in the registry, if there is one.").policy(),
    row(R::TokenExpired, "token.expired", 401, None, EveryProfile, "The token has not expired by its entry in the registry.").policy(),
    row(R::TokenNetwork, "token.network", 403, None, EveryProfile, "The token comes from one of the networks of its entry in the registry.").policy(),
    row(R::TokenCertificate, "token.certificate", 403, None, EveryProfile, "The connection has a verified client certificate with the name that the token's entry in the registry asks for.").policy(),
    row(R::TokenOperation, "token.operation", 403, None, EveryProfile, "The token's entry in the registry allows the method and the resource.").policy(),
    row(R::TokenRefused, "token.refused", 401, None, EveryProfile, "Wire did not refuse the same token a moment ago."),
    row(R::TokenRate, "token.rate", 429, None, EveryProfile, "The token is used no faster than its entry in the registry allows.").policy(),
    row(R::BodyMediaType, "body.media_type", 415, None, EveryProfile, "Content-Type is application/scim+json or application/json."),
    row(R::BodyEncoding, "body.encoding", 415, None, UNREADABLE, "The body is sent without Content-Encoding, or with an unambiguous gzip stream."),
    row(R::BodyTooLarge, "body.too_large", 413, None, LIMIT, "The body is no larger than limits.body, before and after decompression."),
    row(R::BodyTimeout, "body.timeout", 408, None, LIMIT, "The whole body arrives within limits.body_timeout."),
    row(R::JsonSyntax, "json.syntax", 400, SYNTAX, UNREADABLE, "The body is one JSON document in UTF-8 (RFC 8259)."),
    row(R::JsonDuplicateKey, "json.duplicate_key", 400, SYNTAX, EveryProfile, "No attribute that Wire reads appears twice in one object, in any spelling."),
    row(R::JsonDepth, "json.depth", 400, SYNTAX, UNREADABLE, "Arrays and objects are nested at most 512 levels deep."),
    row(R::JsonNumber, "json.number", 400, SYNTAX, UNREADABLE, "No number is written with more than 4096 characters."),
    row(R::JsonObject, "json.object", 400, SYNTAX, EveryProfile, "The body is a JSON object."),
    row(R::UserSchema, "user.schema", 400, VALUE, EveryProfile, "The user satisfies what the operator's own user.json adds to the built-in one.").policy(),
    row(R::UserType, "user.type", 400, VALUE, EveryProfile, "Every attribute of a user has the JSON type that Wire reads."),
    row(R::UserUserName, "user.user_name", 400, VALUE, EveryProfile, "userName, lower-cased, has 2 to 256 characters out of a-z 0-9 _ . -"),
    row(R::UserUserNameCase, "user.user_name.case", 400, VALUE, Documented, "userName has no capital letters (Wire would store it in lower case).").policy(),
    row(R::UserUserNameReserved, "user.user_name.reserved", 400, VALUE, EveryProfile, "userName of a new user is not one of the names that Wire keeps for itself.").policy(),
    row(R::UserDisplayName, "user.display_name", 400, VALUE, EveryProfile, "displayName, or the name that Wire uses instead, has 1 to 128 characters."),
    row(R::UserDisplayNameRequired, "user.display_name.required", 400, VALUE, Documented, "displayName is present (Wire would show the email address or externalId).").policy(),
    row(R::UserExternalIdRequired, "user.external_id.required", 400, VALUE, EveryProfile, "externalId is present."),
    row(R::UserExternalIdEmail, "user.external_id.email", 400, VALUE, EveryProfile, "Without emails, externalId is an email address (teams without SAML)."),
    row(R::UserEmails, "user.emails", 400, VALUE, EveryProfile, "Every entry of emails has an email address as its value."),
    row(R::UserEmailsPrimary, "user.emails.primary", 400, VALUE, EveryProfile, "At most one entry of emails is primary (RFC 7643 §2.4).").by_release("Enforced for 5.35 and later, not judged for 5.34 and earlier; with wire.release any, reported where 5.34 serves the request."),
    row(R::UserPassword, "user.password", 400, VALUE, EveryProfile, "password is absent or null."),
    row(R::UserRoles, "user.roles", 400, VALUE, EveryProfile, "roles has at most one entry: owner, admin, member or partner."),
    row(R::UserLanguage, "user.language", 400, VALUE, EveryProfile, "preferredLanguage begins with a lower-case ISO 639-1 code."),
    row(R::UserRichInfo, "user.rich_info", 400, VALUE, EveryProfile, "Rich info has one of the forms that Wire reads."),
    row(R::UserRichInfoSize, "user.rich_info.size", 413, VALUE, EveryProfile, "Keys and values of rich info have at most wire.rich_info_limit characters together."),
    row(R::UserProfileUrl, "user.profile_url", 400, VALUE, EveryProfile, "profileUrl and the values of photos are absolute URIs (RFC 3986)."),
    row(R::UserTextControl, "user.text.control", 400, VALUE, OptIn, "displayName and rich info contain no control characters.").policy(),
    row(R::UserTextBidirectional, "user.text.bidirectional", 400, VALUE, OptIn, "displayName and rich info contain no characters that override the direction of text.").policy(),
    row(R::UserTextInvisible, "user.text.invisible", 400, VALUE, OptIn, "displayName and rich info contain no invisible characters.").policy(),
    row(R::UserTextBlank, "user.text.blank", 400, VALUE, OptIn, "displayName and rich info values are not white space only.").policy(),
    row(R::PatchSchema, "patch.schema", 400, VALUE, EveryProfile, "The PATCH satisfies what the operator's own patch.json adds to the built-in one.").policy(),
    row(R::PatchSchemas, "patch.schemas", 400, SYNTAX, EveryProfile, "schemas of a PATCH is an array of strings that contains urn:ietf:params:scim:api:messages:2.0:PatchOp."),
    row(R::PatchOperations, "patch.operations", 400, SYNTAX, EveryProfile, "Operations of a PATCH is an array of objects."),
    row(R::PatchOp, "patch.op", 400, SYNTAX, EveryProfile, "op is add, replace or remove."),
    row(R::PatchPath, "patch.path", 400, PATH, EveryProfile, "path names an attribute that Wire can change: userName, displayName, externalId, active, roles, a rich info key, or entries of emails.").by_release("Up to 5.34 no path may select elements by a filter; from 5.35 those into emails may, such as emails[type eq \"work\"].value."),
    row(R::PatchValue, "patch.value", 400, VALUE, EveryProfile, "value is present and has the type of the attribute that path names.").by_release("From 5.35 the value of a path into emails is judged, and a missing value before an unsupported path."),
    row(R::PatchNoTarget, "patch.no_target", 400, Some(ScimType::NoTarget), EveryProfile, "remove has a path."),
    row(R::PatchMutability, "patch.mutability", 400, Some(ScimType::Mutability), EveryProfile, "userName is not removed."),
    row(R::GroupSchema, "group.schema", 400, VALUE, EveryProfile, "The group satisfies what the operator's own group.json adds to the built-in one.").policy(),
    row(R::GroupType, "group.type", 400, VALUE, EveryProfile, "A group has schemas, displayName and members, each of the type that Wire reads."),
    row(R::GroupDisplayName, "group.display_name", 400, VALUE, EveryProfile, "displayName of a group has 1 to 4000 characters."),
    row(R::GroupMembers, "group.members", 400, VALUE, EveryProfile, "Every member has value, type and $ref as strings, and value is a UUID."),
    row(R::GroupPatch, "group.patch", 501, None, EveryProfile, "Groups are not changed by PATCH: Wire has no such function."),
    row(R::FilterRequired, "filter.required", 400, Some(ScimType::TooMany), EveryProfile, "A search for users has a filter."),
    row(R::FilterSyntax, "filter.syntax", 400, FILTER, EveryProfile, "The filter is one comparison: attribute, operator, value."),
    row(R::FilterUnsupported, "filter.unsupported", 400, FILTER, EveryProfile, "Wire can answer the filter: userName or externalId eq a string for users, displayName co a string for groups."),
    row(R::QueryPagination, "query.pagination", 400, VALUE, EveryProfile, "startIndex and count of a search for groups are integers."),
    row(R::LimitsHeaders, "limits.headers", 431, None, LIMIT, "The request head is no larger and has no more headers than limits allows."),
    row(R::LimitsHeaderTimeout, "limits.header_timeout", 408, None, LIMIT, "The whole request head arrives within limits.header_timeout."),
    row(R::LimitsConnections, "limits.connections", 503, None, LIMIT, "No more connections are open than limits.connections."),
    row(R::LimitsAddress, "limits.address", 429, None, LIMIT, "No more connections of one address are open than limits.connections_per_address."),
    row(R::LimitsBufferedBytes, "limits.buffered_bytes", 503, None, LIMIT, "Buffered requests and answers take no more memory than limits.buffered_bytes, and those of one address or connection no more than a part of it."),
    row(R::LimitsDescriptors, "limits.descriptors", 503, None, LACK, "Descriptors, ports and memory are left on the guard's machine to open a connection to the backend."),
    row(R::LimitsGroupPatches, "limits.group_patches", 503, None, LIMIT, "A PATCH of a group waits for others of the same group no longer than limits.group_patch_wait, and after no more than 63 of them (repair groups.patch)."),
    row(R::LimitsAudit, "limits.audit", 503, None, LIMIT, "A request that changes something has room for its line in the audit log (log.audit)."),
    row(R::LimitsUpgrades, "limits.upgrades", 503, None, LIMIT, "No more connections are switched to WebSocket than limits.upgrades."),
    row(R::LimitsDeprovisioning, "limits.deprovisioning", 429, None, EveryProfile, "The token deletes or deactivates no more users than deprovisioning allows, in the configuration or in its entry in the registry.").policy(),
    row(R::SharedUnavailable, "shared.unavailable", 503, None, EveryProfile, "The store of shared answers in time, where a budget concerns the request and on_failure is refuse.").policy(),
    row(R::UpstreamConnect, "upstream.connect", 502, None, BACKEND, "A server of upstream.servers accepts the connection."),
    row(R::UpstreamTls, "upstream.tls", 502, None, BACKEND, "A server of upstream.servers speaks TLS if its entry says https://, with a certificate that is valid for its name, and cleartext otherwise."),
    row(R::UpstreamAnswer, "upstream.answer", 502, None, BACKEND, "The backend answers with well-formed HTTP and does not break off its answer."),
    row(R::UpstreamTimeout, "upstream.timeout", 504, None, BACKEND, "The backend answers within limits.upstream_timeout."),
    row(R::UpstreamThrottled, "upstream.throttled", 429, None, BACKEND, "Wire's nginx does not throttle the request (its status 420)."),
];

impl Enforcement {
    /// Why the rule cannot be switched, if it is fixed.
    pub fn fixed(self) -> Option<&'static str> {
        if let Fixed(why) = self { Some(why) } else { None }
    }
}

impl Rule {
    /// How many rules there are.
    pub const COUNT: usize = Self::UpstreamThrottled as usize + 1;

    /// All rules, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.rule)
    }

    /// The rule with this id.
    pub fn from_id(id: &str) -> Option<Self> {
        TABLE.iter().find(|entry| entry.id == id).map(|entry| entry.rule)
    }

    /// The rule's row of the table.
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// The stable name, such as `user.user_name`.
    pub fn id(self) -> &'static str {
        self.entry().id
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_the_order_of_the_table_and_ids_are_unique() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.rule as usize, index, "{} is out of order", entry.id);
            assert_eq!(Rule::from_id(entry.id), Some(entry.rule), "{} appears twice", entry.id);
        }
    }

    #[test]
    fn scim_types_appear_only_where_a_client_expects_them() {
        for entry in &TABLE {
            if matches!(entry.status, 401 | 403 | 404 | 429 | 500..) {
                assert_eq!(entry.scim_type, None, "{}", entry.id);
            }
        }
    }
}
