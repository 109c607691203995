//! The attributes of a user that Wire reads, and which of them a body repeats.

use crate::json::{Name, NameSet, Object, Type};
use crate::place::IntoPlace;
use crate::scim::repeated::{self, Repetition};

/// What Wire reads at the top of a user.
#[rustfmt::skip]
pub(in crate::scim) const ATTRIBUTES: NameSet = NameSet::new(&[
    Name::Schemas, Name::UserName, Name::ExternalId, Name::DisplayName, Name::NickName, Name::Title,
    Name::UserType, Name::PreferredLanguage, Name::Locale, Name::Password, Name::ProfileUrl,
    Name::Active, Name::Name, Name::Emails, Name::PhoneNumbers, Name::Ims, Name::X509Certificates,
    Name::Photos, Name::Addresses, Name::Roles, Name::Entitlements, Name::WireUser, Name::WireProfile,
]);
#[rustfmt::skip]
const NAME_PARTS: NameSet = NameSet::new(&[
    Name::Formatted, Name::FamilyName, Name::GivenName, Name::MiddleName, Name::HonorificPrefix,
    Name::HonorificSuffix,
]);
pub(in crate::scim) const EMAIL: NameSet = NameSet::new(&[Name::Value, Name::Type, Name::Primary]);
const TYPED_TEXT: NameSet = NameSet::new(&[Name::Value, Name::Type]);
#[rustfmt::skip]
const ADDRESS: NameSet = NameSet::new(&[
    Name::Formatted, Name::StreetAddress, Name::Locality, Name::Region, Name::PostalCode, Name::Country,
    Name::Type, Name::Primary,
]);

/// The attribute that is repeated although Wire reads only one, if any.
pub(super) fn repetition(user: Object<'_>) -> Option<Repetition> {
    if !user.document_may_repeat() {
        // Only keys that can be chosen freely may still be repeated.
        return repeated::in_rich_info(Name::WireUser, user.value(Name::WireUser)?);
    }
    if let Some(name) = repeated::name(user, ATTRIBUTES) {
        return Some(Repetition::folded(name.into_place()));
    }
    for member in user.members() {
        let Some(attribute) = member.name() else { continue };
        let parts = match attribute {
            Name::Name => NAME_PARTS,
            Name::Emails => EMAIL,
            Name::Addresses => ADDRESS,
            Name::PhoneNumbers | Name::Ims | Name::X509Certificates | Name::Photos => TYPED_TEXT,
            Name::WireUser | Name::WireProfile => {
                let repetition = repeated::in_rich_info(attribute, member.value);
                if repetition.is_some() {
                    return repetition;
                }
                continue;
            }
            _ => continue,
        };
        let repetition = match member.value.get() {
            Type::Object(object) => repeated::name(object, parts)
                .map(|part| Repetition::folded(attribute.into_place().child(Some(part)))),
            Type::Array(list) => repeated::in_list(list, || attribute.into_place(), parts),
            _ => None,
        };
        if repetition.is_some() {
            return repetition;
        }
    }
    None
}
