//! PostgreSQL's catalogue, as far as clients look into it: which tables, columns and types there
//! are. All else that a PostgreSQL has (indexes, triggers, roles, ..) is there, and empty.

use pgwire::api::Type;
use rusqlite::{Connection, Result, params};

use super::functions::{DATABASE, SCHEMA, SERVER_VERSION};
use super::live::{Shape, Source};
use super::types::typed;

/// The first number of what is not PostgreSQL's own.
const FIRST_OID: i64 = 16_384;
const PUBLIC_OID: i64 = 2200;
const CATALOG_OID: i64 = 11;
const INFORMATION_OID: i64 = 13_000;
const OWNER_OID: i64 = 10;

/// Types that clients may ask for: name, number, bytes (-1: varies), category, array's number.
const TYPES: [(&str, i64, i64, &str, i64); 24] = [
    ("bool", 16, 1, "B", 1000),
    ("bytea", 17, -1, "U", 1001),
    ("char", 18, 1, "S", 1002),
    ("name", 19, 64, "S", 1003),
    ("int8", 20, 8, "N", 1016),
    ("int2", 21, 2, "N", 1005),
    ("int2vector", 22, -1, "A", 1006),
    ("int4", 23, 4, "N", 1007),
    ("regproc", 24, 4, "N", 1008),
    ("text", 25, -1, "S", 1009),
    ("oid", 26, 4, "N", 1028),
    ("oidvector", 30, -1, "A", 1013),
    ("json", 114, -1, "U", 199),
    ("float4", 700, 4, "N", 1021),
    ("float8", 701, 8, "N", 1022),
    ("unknown", 705, -2, "X", 0),
    ("bpchar", 1042, -1, "S", 1014),
    ("varchar", 1043, -1, "S", 1015),
    ("date", 1082, 4, "D", 1182),
    ("timestamp", 1114, 8, "D", 1115),
    ("timestamptz", 1184, 8, "D", 1185),
    ("interval", 1186, 16, "T", 1187),
    ("numeric", 1700, -1, "N", 1231),
    ("regclass", 2205, 4, "N", 2210),
];
/// Types as people call them.
const LONG_NAMES: [(&str, &str); 12] = [
    ("bool", "boolean"),
    ("char", "\"char\""),
    ("int8", "bigint"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("bpchar", "character"),
    ("varchar", "character varying"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("time", "time without time zone"),
];
/// Settings that clients ask for.
const SETTINGS: [(&str, &str); 22] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, YMD"),
    ("default_transaction_isolation", "repeatable read"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("jit", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "repeatable read"),
];

/// Tables of the catalogue that are filled, with their columns.
const FILLED: [(&str, &str); 18] = [
    ("pg_catalog.pg_namespace", "oid OID, nspname NAME, nspowner OID, nspacl TEXT"),
    (
        "pg_catalog.pg_class",
        "oid OID, relname NAME, relnamespace OID, reltype OID, reloftype OID, relowner OID, \
         relam OID, relfilenode OID, reltablespace OID, relpages INT4, reltuples DOUBLE, \
         relallvisible INT4, reltoastrelid OID, relhasindex BOOLEAN, relisshared BOOLEAN, \
         relpersistence CHAR1, relkind CHAR1, relnatts INT2, relchecks INT2, relhasrules BOOLEAN, \
         relhastriggers BOOLEAN, relhassubclass BOOLEAN, relrowsecurity BOOLEAN, \
         relforcerowsecurity BOOLEAN, relispopulated BOOLEAN, relreplident CHAR1, \
         relispartition BOOLEAN, relrewrite OID, relfrozenxid OID, relminmxid OID, relacl TEXT, \
         reloptions TEXT, relpartbound TEXT, relhasoids BOOLEAN, tableoid OID",
    ),
    (
        "pg_catalog.pg_attribute",
        "attrelid OID, attname NAME, atttypid OID, attstattarget INT4, attlen INT2, attnum INT2, \
         attndims INT4, attcacheoff INT4, atttypmod INT4, attbyval BOOLEAN, attalign CHAR1, \
         attstorage CHAR1, attcompression CHAR1, attnotnull BOOLEAN, atthasdef BOOLEAN, \
         atthasmissing BOOLEAN, attidentity CHAR1, attgenerated CHAR1, attisdropped BOOLEAN, \
         attislocal BOOLEAN, attinhcount INT4, attcollation OID, attacl TEXT, attoptions TEXT, \
         attfdwoptions TEXT, attmissingval TEXT",
    ),
    (
        "pg_catalog.pg_type",
        "oid OID, typname NAME, typnamespace OID, typowner OID, typlen INT2, typbyval BOOLEAN, \
         typtype CHAR1, typcategory CHAR1, typispreferred BOOLEAN, typisdefined BOOLEAN, \
         typdelim CHAR1, typrelid OID, typsubscript TEXT, typelem OID, typarray OID, \
         typinput TEXT, typoutput TEXT, typreceive TEXT, typsend TEXT, typmodin TEXT, \
         typmodout TEXT, typalign CHAR1, typstorage CHAR1, typnotnull BOOLEAN, typbasetype OID, \
         typtypmod INT4, typndims INT4, typcollation OID, typdefault TEXT, typacl TEXT",
    ),
    (
        "pg_catalog.pg_database",
        "oid OID, datname NAME, datdba OID, encoding INT4, datlocprovider CHAR1, \
         datistemplate BOOLEAN, datallowconn BOOLEAN, datconnlimit INT4, dattablespace OID, \
         datcollate TEXT, datctype TEXT, daticulocale TEXT, datcollversion TEXT, datacl TEXT",
    ),
    (
        "pg_catalog.pg_roles",
        "oid OID, rolname NAME, rolsuper BOOLEAN, rolinherit BOOLEAN, rolcreaterole BOOLEAN, \
         rolcreatedb BOOLEAN, rolcanlogin BOOLEAN, rolreplication BOOLEAN, rolconnlimit INT4, \
         rolpassword TEXT, rolvaliduntil TIMESTAMPTZ, rolbypassrls BOOLEAN, rolconfig TEXT",
    ),
    ("pg_catalog.pg_am", "oid OID, amname NAME, amhandler TEXT, amtype CHAR1"),
    ("pg_catalog.pg_collation", "oid OID, collname NAME, collnamespace OID, collowner OID"),
    ("pg_catalog.pg_tablespace", "oid OID, spcname NAME, spcowner OID, spcacl TEXT"),
    (
        "pg_catalog.pg_settings",
        "name TEXT, setting TEXT, unit TEXT, category TEXT, short_desc TEXT, extra_desc TEXT, \
         context TEXT, vartype TEXT, source TEXT, min_val TEXT, max_val TEXT, enumvals TEXT, \
         boot_val TEXT, reset_val TEXT, sourcefile TEXT, sourceline INT4, pending_restart BOOLEAN",
    ),
    (
        "pg_catalog.pg_tables",
        "schemaname NAME, tablename NAME, tableowner NAME, tablespace NAME, hasindexes BOOLEAN, \
         hasrules BOOLEAN, hastriggers BOOLEAN, rowsecurity BOOLEAN",
    ),
    ("pg_catalog.pg_views", "schemaname NAME, viewname NAME, viewowner NAME, definition TEXT"),
    (
        "information_schema.schemata",
        "catalog_name NAME, schema_name NAME, schema_owner NAME, default_character_set_name TEXT",
    ),
    (
        "information_schema.tables",
        "table_catalog NAME, table_schema NAME, table_name NAME, table_type TEXT, \
         is_insertable_into TEXT, is_typed TEXT, commit_action TEXT",
    ),
    (
        "information_schema.columns",
        "table_catalog NAME, table_schema NAME, table_name NAME, column_name NAME, \
         ordinal_position INT4, column_default TEXT, is_nullable TEXT, data_type TEXT, \
         character_maximum_length INT4, character_octet_length INT4, numeric_precision INT4, \
         numeric_precision_radix INT4, numeric_scale INT4, datetime_precision INT4, \
         interval_type TEXT, udt_catalog NAME, udt_schema NAME, udt_name NAME, is_identity TEXT, \
         identity_generation TEXT, is_generated TEXT, generation_expression TEXT, \
         is_updatable TEXT, domain_name NAME, collation_name NAME, identity_start TEXT, \
         identity_increment TEXT",
    ),
    (
        "information_schema.views",
        "table_catalog NAME, table_schema NAME, table_name NAME, view_definition TEXT, \
         check_option TEXT, is_updatable TEXT",
    ),
    ("information_schema.information_schema_catalog_name", "catalog_name NAME"),
    ("pg_catalog.pg_user", "usename NAME, usesysid OID, usesuper BOOLEAN"),
];

/// Tables that are empty, and those of their columns that clients name.
const EMPTY: [(&str, &str); 51] = [
    (
        "pg_catalog.pg_index",
        "indexrelid indrelid indnatts indnkeyatts indisunique indisprimary indisexclusion \
      indimmediate indisclustered indisvalid indisready indislive indisreplident indkey \
      indcollation indclass indoption indexprs indpred indnullsnotdistinct indcheckxmin",
    ),
    (
        "pg_catalog.pg_constraint",
        "oid conname connamespace contype condeferrable condeferred convalidated conrelid contypid \
      conindid conparentid confrelid confupdtype confdeltype confmatchtype conislocal coninhcount \
      connoinherit conkey confkey conpfeqop conppeqop conffeqop conexclop conbin tableoid",
    ),
    ("pg_catalog.pg_attrdef", "oid adrelid adnum adbin"),
    ("pg_catalog.pg_description", "objoid classoid objsubid description"),
    ("pg_catalog.pg_shdescription", "objoid classoid description"),
    ("pg_catalog.pg_depend", "classid objid objsubid refclassid refobjid refobjsubid deptype"),
    ("pg_catalog.pg_enum", "oid enumtypid enumsortorder enumlabel"),
    (
        "pg_catalog.pg_range",
        "rngtypid rngsubtype rngmultitypid rngcollation rngsubopc rngcanonical rngsubdiff",
    ),
    ("pg_catalog.pg_inherits", "inhrelid inhparent inhseqno inhdetachpending"),
    (
        "pg_catalog.pg_sequence",
        "seqrelid seqtypid seqstart seqincrement seqmax seqmin seqcache seqcycle",
    ),
    ("pg_catalog.pg_sequences", "schemaname sequencename sequenceowner data_type last_value"),
    (
        "pg_catalog.pg_trigger",
        "oid tgrelid tgparentid tgname tgfoid tgtype tgenabled tgisinternal tgconstrrelid \
      tgconstrindid tgconstraint tgdeferrable tginitdeferred tgnargs tgattr tgargs tgqual",
    ),
    (
        "pg_catalog.pg_policy",
        "oid polname polrelid polcmd polpermissive polroles polqual polwithcheck",
    ),
    (
        "pg_catalog.pg_publication",
        "oid pubname pubowner puballtables pubinsert pubupdate pubdelete pubtruncate pubviaroot",
    ),
    ("pg_catalog.pg_publication_rel", "oid prpubid prrelid prqual prattrs"),
    ("pg_catalog.pg_publication_namespace", "oid pnpubid pnnspid"),
    (
        "pg_catalog.pg_statistic_ext",
        "oid stxrelid stxname stxnamespace stxowner stxkeys stxkind stxstattarget",
    ),
    (
        "pg_catalog.pg_rewrite",
        "oid rulename ev_class ev_type ev_enabled is_instead ev_qual ev_action",
    ),
    ("pg_catalog.pg_foreign_table", "ftrelid ftserver ftoptions"),
    (
        "pg_catalog.pg_foreign_server",
        "oid srvname srvowner srvfdw srvtype srvversion srvacl srvoptions",
    ),
    (
        "pg_catalog.pg_foreign_data_wrapper",
        "oid fdwname fdwowner fdwhandler fdwvalidator fdwacl fdwoptions",
    ),
    (
        "pg_catalog.pg_extension",
        "oid extname extowner extnamespace extrelocatable extversion extconfig extcondition",
    ),
    (
        "pg_catalog.pg_auth_members",
        "oid roleid member grantor admin_option inherit_option set_option",
    ),
    (
        "pg_catalog.pg_proc",
        "oid proname pronamespace proowner prolang procost prorows provariadic prosupport prokind \
      prosecdef proleakproof proisstrict proretset provolatile proparallel pronargs \
      pronargdefaults prorettype proargtypes proallargtypes proargmodes proargnames \
      proargdefaults prosrc probin prosqlbody proconfig proacl",
    ),
    ("pg_catalog.pg_language", "oid lanname lanowner lanispl lanpltrusted lanacl"),
    ("pg_catalog.pg_operator", "oid oprname oprnamespace oprleft oprright oprresult oprcode"),
    ("pg_catalog.pg_opclass", "oid opcmethod opcname opcnamespace opcintype opcdefault"),
    ("pg_catalog.pg_aggregate", "aggfnoid aggkind"),
    ("pg_catalog.pg_cast", "oid castsource casttarget castfunc castcontext castmethod"),
    ("pg_catalog.pg_conversion", "oid conname connamespace conforencoding contoencoding"),
    ("pg_catalog.pg_matviews", "schemaname matviewname matviewowner ispopulated definition"),
    ("pg_catalog.pg_indexes", "schemaname tablename indexname tablespace indexdef"),
    ("pg_catalog.pg_partitioned_table", "partrelid partstrat partnatts partdefid partattrs"),
    ("pg_catalog.pg_event_trigger", "oid evtname evtevent evtowner evtfoid evtenabled evttags"),
    ("pg_catalog.pg_db_role_setting", "setdatabase setrole setconfig"),
    ("pg_catalog.pg_default_acl", "oid defaclrole defaclnamespace defaclobjtype defaclacl"),
    (
        "pg_catalog.pg_stat_activity",
        "datid datname pid usesysid usename application_name client_addr backend_start state query",
    ),
    ("pg_catalog.pg_stat_database", "datid datname numbackends xact_commit xact_rollback"),
    ("pg_catalog.pg_stat_user_tables", "relid schemaname relname n_live_tup"),
    ("pg_catalog.pg_locks", "locktype database relation pid mode granted"),
    ("pg_catalog.pg_timezone_names", "name abbrev utc_offset is_dst"),
    ("pg_catalog.pg_ts_config", "oid cfgname cfgnamespace cfgowner cfgparser"),
    ("pg_catalog.pg_ts_dict", "oid dictname dictnamespace dictowner dicttemplate"),
    ("pg_catalog.pg_subscription", "oid subdbid subname subowner subenabled"),
    (
        "information_schema.table_constraints",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name \
      constraint_type is_deferrable initially_deferred",
    ),
    (
        "information_schema.key_column_usage",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name \
      column_name ordinal_position position_in_unique_constraint",
    ),
    (
        "information_schema.constraint_column_usage",
        "table_catalog table_schema table_name column_name constraint_schema constraint_name",
    ),
    (
        "information_schema.referential_constraints",
        "constraint_schema constraint_name unique_constraint_schema unique_constraint_name",
    ),
    ("information_schema.routines", "routine_schema routine_name routine_type data_type"),
    ("information_schema.sequences", "sequence_schema sequence_name data_type"),
    (
        "information_schema.role_table_grants",
        "grantor grantee table_schema table_name privilege_type",
    ),
];

/// A setting's value.
pub(super) fn setting(name: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// All settings.
pub(super) fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.into_iter()
}

/// A type's name for people.
pub(super) fn type_name(oid: i64) -> String {
    let array = TYPES.iter().find(|it| it.4 == oid).map(|it| (it.0, "[]"));
    let found = TYPES.iter().find(|it| it.1 == oid).map(|it| (it.0, "")).or(array);
    let Some((name, brackets)) = found else { return "???".into() };
    let long = LONG_NAMES.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long);
    format!("{long}{brackets}")
}

/// A type's number by either of its names.
pub(super) fn type_oid(name: &str) -> Option<i64> {
    let short = LONG_NAMES.iter().find(|(_, long)| *long == name).map_or(name, |(short, _)| short);
    TYPES.iter().find(|it| it.0 == short).map(|it| it.1)
}

/// A table's number.
pub(super) fn oid_of_table(shapes: &[Shape], name: &str) -> Option<i64> {
    let bare = name.strip_prefix("public.").unwrap_or(name);
    let bare = bare.trim_matches('"');
    if let Some(at) = shapes.iter().position(|shape| shape.name == bare) {
        return Some(FIRST_OID + at as i64);
    }
    let bare = bare.strip_prefix("pg_catalog.").unwrap_or(bare);
    let at = tables().position(|(known, _)| known.ends_with(&format!("pg_catalog.{bare}")))?;
    Some(1000 + at as i64)
}

/// The table of a number.
pub(super) fn table_of_oid(shapes: &[Shape], oid: i64) -> Option<&str> {
    let at = usize::try_from(oid.checked_sub(FIRST_OID)?).ok()?;
    shapes.get(at).map(|shape| shape.name.as_str())
}

fn tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILLED.into_iter().chain(EMPTY)
}

/// Makes the catalogue's tables.
pub(super) fn create(connection: &Connection) -> Result<()> {
    let mut text = String::new();
    for (name, columns) in FILLED {
        text += &format!("CREATE TABLE {name}({columns});");
    }
    for (name, columns) in EMPTY {
        let columns: Vec<String> = columns.split_whitespace().map(declared).collect();
        text += &format!("CREATE TABLE {name}({});", columns.join(", "));
    }
    connection.execute_batch(&text)?;
    fill_once(connection)
}

/// A column of an empty table, whose type follows from PostgreSQL's way of calling it.
fn declared(name: &str) -> String {
    let is_oid = name == "oid" || name.ends_with("relid") || name.ends_with("oid");
    let is_bool =
        ["indis", "conis", "tgis", "pubins", "has_"].iter().any(|it| name.starts_with(it));
    let of = if is_oid {
        "OID"
    } else if is_bool {
        "BOOLEAN"
    } else if name.ends_with("name") {
        "NAME"
    } else {
        "TEXT"
    };
    format!("{name} {of}")
}

/// What does not depend on the tables.
fn fill_once(connection: &Connection) -> Result<()> {
    let mut schema =
        connection.prepare("INSERT INTO pg_catalog.pg_namespace VALUES (?1, ?2, 10, NULL)")?;
    let schemas = [
        (CATALOG_OID, "pg_catalog"),
        (PUBLIC_OID, SCHEMA),
        (INFORMATION_OID, "information_schema"),
    ];
    for (oid, name) in schemas {
        schema.execute(params![oid, name])?;
        connection.execute(
            "INSERT INTO information_schema.schemata VALUES (?1, ?2, ?1, NULL)",
            params![DATABASE, name],
        )?;
    }
    let mut of_type = connection.prepare(
        "INSERT INTO pg_catalog.pg_type VALUES (?1, ?2, 11, 10, ?3, ?4, 'b', ?5, 0, 1, ',', 0, '', \
         ?6, ?7, ?8, ?9, '', '', '', '', 'i', 'p', 0, 0, -1, 0, 0, NULL, NULL)",
    )?;
    for (name, oid, bytes, category, array) in TYPES {
        let by_value = bytes > 0 && bytes <= 8;
        of_type.execute(params![
            oid,
            name,
            bytes,
            by_value,
            category,
            0,
            array,
            format!("{name}in"),
            format!("{name}out")
        ])?;
        if array != 0 {
            let name = format!("_{name}");
            of_type.execute(params![
                array,
                name,
                -1,
                false,
                "A",
                oid,
                0,
                "array_in",
                "array_out"
            ])?;
        }
    }
    let mut setting = connection.prepare(
        "INSERT INTO pg_catalog.pg_settings(name, setting, reset_val) VALUES (?1, ?2, ?2)",
    )?;
    for (name, value) in SETTINGS {
        setting.execute(params![name, value])?;
    }
    connection.execute_batch(&format!(
        "INSERT INTO pg_catalog.pg_database VALUES (5, '{DATABASE}', 10, 6, 'c', 0, 1, -1, 1663, \
             'C', 'C', NULL, NULL, NULL);
         INSERT INTO pg_catalog.pg_roles VALUES ({OWNER_OID}, '{DATABASE}', 0, 1, 0, 0, 1, 0, -1, \
             NULL, NULL, 0, NULL);
         INSERT INTO pg_catalog.pg_user VALUES ('{DATABASE}', {OWNER_OID}, 0);
         INSERT INTO pg_catalog.pg_am VALUES (2, 'heap', 'heap_tableam_handler', 't');
         INSERT INTO pg_catalog.pg_collation VALUES (100, 'default', 11, 10), (950, 'C', 11, 10);
         INSERT INTO pg_catalog.pg_tablespace VALUES (1663, 'pg_default', 10, NULL);
         INSERT INTO information_schema.information_schema_catalog_name VALUES ('{DATABASE}');"
    ))
}

/// Tells of these tables, in place of those before.
pub(super) fn fill(connection: &Connection, shapes: &[Shape]) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM pg_catalog.pg_class; DELETE FROM pg_catalog.pg_attribute;
         DELETE FROM pg_catalog.pg_tables; DELETE FROM pg_catalog.pg_views;
         DELETE FROM information_schema.tables; DELETE FROM information_schema.columns;
         DELETE FROM information_schema.views;",
    )?;
    for (at, shape) in shapes.iter().enumerate() {
        fill_one(connection, FIRST_OID + at as i64, shape)?;
    }
    Ok(())
}

fn fill_one(connection: &Connection, oid: i64, shape: &Shape) -> Result<()> {
    // A zone is a view of the one table of all machines.
    let is_view = matches!(shape.source, Source::Zone(_));
    let kind = if is_view { "v" } else { "r" };
    let count = shape.columns.len() as i64;
    connection.prepare_cached(
        "INSERT INTO pg_catalog.pg_class VALUES (?1, ?2, 2200, 0, 0, 10, ?4, 0, 0, 0, -1, 0, 0, 0, \
         0, 'p', ?3, ?5, 0, 0, 0, 0, 0, 0, 1, 'n', 0, 0, 0, 0, NULL, NULL, NULL, 0, 1259)",
    )?
    .execute(params![oid, shape.name, kind, if is_view { 0 } else { 2 }, count])?;
    let listed = if is_view {
        "INSERT INTO pg_catalog.pg_views VALUES (?1, ?2, ?3, NULL)"
    } else {
        "INSERT INTO pg_catalog.pg_tables VALUES (?1, ?2, ?3, NULL, 0, 0, 0, 0)"
    };
    connection.prepare_cached(listed)?.execute(params![SCHEMA, shape.name, DATABASE])?;
    let of = if is_view { "VIEW" } else { "BASE TABLE" };
    connection
        .prepare_cached(
            "INSERT INTO information_schema.tables VALUES (?1, ?2, ?3, ?4, 'NO', 'NO', NULL)",
        )?
        .execute(params![DATABASE, SCHEMA, shape.name, of])?;
    if is_view {
        connection
            .prepare_cached(
                "INSERT INTO information_schema.views VALUES (?1, ?2, ?3, NULL, 'NONE', 'NO')",
            )?
            .execute(params![DATABASE, SCHEMA, shape.name])?;
    }
    for (at, (name, holds)) in shape.columns.iter().enumerate() {
        let of = typed(holds.declared()).unwrap_or(Type::TEXT);
        let (number, of_oid) = (at as i64 + 1, i64::from(of.oid()));
        let bytes = TYPES.iter().find(|it| it.1 == of_oid).map_or(-1, |it| it.2);
        let collation = if of == Type::TEXT { 100 } else { 0 };
        connection
            .prepare_cached(
                "INSERT INTO pg_catalog.pg_attribute VALUES (?1, ?2, ?3, -1, ?4, ?5, 0, -1, -1, 0, \
                 'i', 'p', '', 0, 0, 0, '', '', 0, 1, 0, ?6, NULL, NULL, NULL, NULL)",
            )?
            .execute(params![oid, name, of_oid, bytes, number, collation])?;
        connection
            .prepare_cached(
                "INSERT INTO information_schema.columns(table_catalog, table_schema, table_name, \
                 column_name, ordinal_position, is_nullable, data_type, udt_catalog, udt_schema, \
                 udt_name, is_identity, is_generated, is_updatable) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 'YES', ?6, ?1, 'pg_catalog', ?7, 'NO', 'NEVER', 'NO')",
            )?
            .execute(params![
                DATABASE,
                SCHEMA,
                shape.name,
                name,
                number,
                type_name(of_oid),
                of.name()
            ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        assert_eq!((type_name(20), type_name(1009)), ("bigint".into(), "text[]".into()));
        assert_eq!(
            (type_oid("bigint"), type_oid("int8"), type_oid("x")),
            (Some(20), Some(20), None)
        );
    }

    #[test]
    fn settings_are_found_whatever_their_case() {
        assert_eq!(setting("datestyle"), Some("ISO, YMD"));
        assert_eq!(setting("nothing"), None);
    }
}
