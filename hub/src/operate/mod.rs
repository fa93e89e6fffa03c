//! What operators do to a hub, as plain functions; the command line only prints their results.
//!
//! `people` manages users, organisations and tokens. [`fsck`] recomputes what is stored, [`gc`] removes what nothing
//! refers to, [`stats`] counts, [`backup`] and [`restore`] move a hub through one folder, and [`export_audit`]
//! writes the audit log. All of them work beside running servers.

mod backup;
mod collect;
mod export;
mod fsck;
mod people;
mod stats;
mod tables;

pub use backup::{BackupReport, backup, restore};
pub use collect::{GcOptions, GcReport, KEPT_AT_LEAST, gc};
pub(crate) use collect::{Kind as Marked, unmark, unmark_history};
pub use export::{AuditFilter, export_audit};
pub use fsck::{FsckOptions, FsckReport, Problem, fsck};
pub use people::{
    OrgLine, TokenGrant, TokenLine, TokenRequest, UserLine, create_org, create_token, create_user,
    find_account, list_orgs, list_tokens, list_users, members, revoke_token, set_disabled,
    set_member, set_password, set_quota, set_site_admin,
};
pub use stats::{Stats, stats};
