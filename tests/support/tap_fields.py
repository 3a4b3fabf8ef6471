"""Field names that taps and connectors publish for people: only names and types, from their schemas.

Each has `stream`, its key, and ``{path: type}``; "?" after a type marks a format not in the schema.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    """The fields of a tap's stream, and the source fields that a person would choose for the `User`."""

    source: str
    stream: str
    fields: str
    chosen: dict[str, set[str]]


def schema(fields: str) -> dict[str, Any]:
    """A JSON Schema of fields such as ``id:integer profile.email``; the default type is string."""
    root: dict[str, Any] = {"type": "object", "properties": {}}
    for word in fields.split():
        path, _, kind = word.partition(":")
        place = root
        *outer, last = path.split(".")
        for name in outer:
            place = place["properties"].setdefault(name, {"type": ["null", "object"], "properties": {}})
        is_time = kind == "date-time"
        place["properties"][last] = {"type": ["null", "string" if is_time else kind or "string"]} | (
            {"format": kind} if is_time else {}
        )
    return root


PUBLISHED = [
    Published(
        # The fields of its employee report, from selected_fields.json.
        "tap-bamboohr (AutoIDM), 251038e",
        "employees",
        "id department division eeo employeeNumber employmentHistoryStatus employeeStatusDate"
        " firstName gender"
        " hireDate homeEmail homePhone jobTitle lastName linkedIn location mobilePhone"
        " originalHireDate payType"
        " preferredName status workEmail workPhoneExtension workPhone displayName supervisorEId",
        {
            "employeeId": {"id", "employeeNumber"},
            "firstName": {"firstName"},
            "lastName": {"lastName"},
            "fullName": {"displayName"},
            "employmentStartDate": {"hireDate"},
            "workEmail": {"workEmail"},
            "managerId": {"supervisorEId"},
            "role": {"jobTitle"},
            "employmentType": {"employmentHistoryStatus"},
        },
    ),
    Published(
        "tap-okta (seanglynn-thrive), 11acfc0",
        "users",
        "id status created:date-time activated statusChanged:date-time lastLogin:date-time"
        " lastUpdated:date-time passwordChanged:date-time profile.companyId profile.employeeNumber"
        " profile.facilityNumber profile.preferredLanguage profile.primaryPhone profile.timezone"
        " profile.userId"
        " profile.zipcode profile.signUpCode profile.companyName profile.countryCode"
        " profile.employeeType"
        " profile.externalUserId profile.manager profile.title profile.careerTrackDescription"
        " profile.jobCode"
        " profile.countryDescription profile.geographicUnit profile.ssoid profile.firstName"
        " profile.lastName"
        " profile.mobilePhone profile.secondEmail profile.grpList profile.login profile.email",
        {
            "employeeId": {"id", "profile.employeeNumber"},
            "firstName": {"profile.firstName"},
            "lastName": {"profile.lastName"},
            "workEmail": {"profile.email"},
            # `profile.manager` is a name, not an id.
            "role": {"profile.title"},
            "employmentType": {"profile.employeeType"},
        },
    ),
    Published(
        "airbyte-source-google-directory 0.2.45",
        "users",
        "kind id username name.givenName name.familyName name.fullName isAdmin:boolean"
        " isDelegatedAdmin:boolean"
        " lastLoginTime creationTime agreedToTerms:boolean hashFunction suspended:boolean"
        " changePasswordAtNextLogin:boolean ipWhitelisted:boolean emails:array externalIds:array"
        " relations:array organizations:array phones:array aliases:array nonEditableAliases:array"
        " customerId"
        " orgUnitPath isMailboxSetup:boolean includeInGlobalAddressList:boolean etag languages:array"
        " isEnforcedIn2Sv:boolean isEnrolledIn2Sv:boolean archived:boolean primaryEmail suspensionReason"
        " locations:array thumbnailPhotoEtag thumbnailPhotoUrl addresses:array recoveryPhone"
        " recoveryEmail"
        " gender.type sshPublicKeys:array posixAccounts:array",
        {
            "employeeId": {"id"},
            "firstName": {"name.givenName"},
            "lastName": {"name.familyName"},
            "fullName": {"name.fullName"},
            "workEmail": {"primaryEmail"},
        },
    ),
    Published(
        "tap-ms-graph (singer-io), 127d227: Entra",
        "users",
        "id displayName givenName surname userPrincipalName jobTitle mail mobilePhone officeLocation"
        " preferredLanguage businessPhones:array createdDateTime:date-time"
        " lastModifiedDateTime:date-time",
        {
            "employeeId": {"id"},
            "firstName": {"givenName"},
            "lastName": {"surname"},
            "fullName": {"displayName"},
            "workEmail": {"mail"},
            "role": {"jobTitle"},
        },
    ),
    Published(
        "source-rippling (Airbyte), 5f539b7",
        "employees",
        "companyEmploymentType.createdAt companyEmploymentType.displayName companyEmploymentType.id"
        " companyEmploymentType.isContractor:boolean companyEmploymentType.label"
        " companyEmploymentType.updatedAt createdAt customFields:object department departmentId dob ein"
        " compensation:object employeeNumber:integer employmentType endDate firstName gender id"
        " identifiedGender"
        " isInternational:boolean isManager:boolean isRemote:boolean lastName level manager name"
        " offerAcceptedDate payScheduleId personalEmail photo preferredFirstName preferredLastName"
        " roleState"
        " salaryUnit smallPhoto startDate teams:array title updatedAt userId w2EndDate w2StartDate"
        " workEmail"
        " workLocationId workLocationNickname",
        {
            "employeeId": {"id", "employeeNumber"},
            "firstName": {"firstName"},
            "lastName": {"lastName"},
            "fullName": {"name"},
            "employmentStartDate": {"startDate"},
            "employmentEndDate": {"endDate"},
            "workEmail": {"workEmail"},
            "managerId": {"manager"},
            "role": {"title"},
            "employmentType": {"employmentType"},
        },
    ),
    Published(
        "tap-hibob (potloc), 08472fd",
        "employees",
        "id company_id:integer email fullName firstName surname displayName creationDateTime:date-time"
        " work.start_date:date-time work.manager work.reportsToIdInComany:integer"
        " work.employeeIdInCompany:integer work.reportsTo.id work.reportsTo.email"
        " work.reportsTo.firstName"
        " work.reportsTo.surname work.reportsTo.displayName work.department work.siteId:integer"
        " work.isManager:boolean work.title work.site",
        {
            "employeeId": {"id", "work.employeeIdInCompany"},
            "firstName": {"firstName"},
            "lastName": {"surname"},
            "fullName": {"fullName"},
            "employmentStartDate": {"work.start_date"},
            "workEmail": {"email"},
            "managerId": {"work.reportsTo.id", "work.reportsToIdInComany"},
            "role": {"work.title"},
        },
    ),
    Published(
        "tap-personio (ScalefreeCOM), cd26106",
        "employees",
        "type attributes.id attributes.first_name attributes.last_name attributes.email"
        " attributes.status"
        " attributes.position attributes.employment_type attributes.hire_date:date-time"
        " attributes.contract_end_date:date-time attributes.probation_period_end:date-time"
        " attributes.department.type attributes.department.attributes.id:integer"
        " attributes.department.attributes.name attributes.cost_centers:array"
        " attributes.absence_entitlement:array attributes.dynamic_707256 attributes.dynamic_582475",
        {
            "employeeId": {"attributes.id"},
            "firstName": {"attributes.first_name"},
            "lastName": {"attributes.last_name"},
            "employmentStartDate": {"attributes.hire_date"},
            "employmentEndDate": {"attributes.contract_end_date"},
            "workEmail": {"attributes.email"},
            "role": {"attributes.position"},
            "employmentType": {"attributes.employment_type"},
        },
    ),
    Published(
        "tap-github 4.0.0: team_members",
        "team_members",
        "login id:integer node_id name email starred_at avatar_url gravatar_id url html_url"
        " followers_url"
        " following_url gists_url starred_url subscriptions_url organizations_url repos_url events_url"
        " received_events_url type site_admin:boolean _sdc_repository team_slug",
        {"employeeId": {"id"}, "fullName": {"name"}, "workEmail": {"email"}},
    ),
]
