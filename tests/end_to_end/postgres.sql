-- Three tables, 12,513 rows, always the same ones: what PostgreSQL holds that JSON, floats and Python's
-- datetimes like to bend.

CREATE TABLE employees (
    id bigint PRIMARY KEY,
    employee_id uuid NOT NULL,
    first_name text,
    last_name varchar(200) NOT NULL,
    grade char(4),
    salary numeric(38, 10),
    bonus numeric,
    score double precision,
    share_of_time real,
    active boolean,
    manager_id bigint,
    hired_on date,
    starts_at time,
    created_at timestamp,
    seen_at timestamptz,
    skills text[],
    levels bigint[],
    profile jsonb,
    raw json
);

INSERT INTO employees
SELECT
    n,
    md5(n::text)::uuid,
    CASE WHEN n % 7 = 0 THEN NULL ELSE 'Zoë ' || chr(8364) || n END,
    CASE WHEN n % 11 = 0 THEN '' ELSE 'O''Brien-' || chr(1488 + n % 27) || n END,
    'G' || n % 10,
    CASE WHEN n % 5 = 0 THEN NULL ELSE n::numeric * 1000003.0000000007 END,
    CASE WHEN n % 3 = 0 THEN NULL ELSE (n::numeric + 100000000000000000000000000000) / (n % 9 + 1) END,
    sqrt(n),
    n / 7.0,
    CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN true ELSE false END,
    CASE WHEN n % 4 = 0 THEN NULL ELSE 9007199254740993 + n END,
    CASE WHEN n % 6 = 0 THEN NULL ELSE date '1970-01-01' + n END,
    CASE WHEN n % 8 = 0 THEN NULL ELSE time '00:00' + n * interval '17.000001 s' END,
    timestamp '2001-09-09 01:46:40' + n * interval '1 h 1.000001 s',
    CASE WHEN n % 9 = 0 THEN NULL ELSE timestamptz '1999-12-31 23:59:59.999999+00' + n * interval '7 h' END,
    CASE WHEN n % 10 = 0 THEN NULL ELSE ARRAY['sql', 'ключ ' || n, ''] END,
    ARRAY[n, -9223372036854775808],
    CASE WHEN n % 12 = 0 THEN NULL
         ELSE jsonb_build_object('n', n, 'pay', n * 0.10, 'tags', jsonb_build_array('é', NULL, true, '{}'::jsonb))
    END,
    CASE WHEN n % 13 = 0 THEN NULL ELSE ('{"b": ' || n || ', "a": [1.50, 1e2, null], "": ""}')::json END
FROM generate_series(1, 4500) AS n;

INSERT INTO employees (id, employee_id, last_name, salary, bonus) VALUES
    (9223372036854775807, '00000000-0000-0000-0000-000000000000', 'largest', 1234567890123456789012345678.0000000000, 123456789012345678901234567890),
    (-9223372036854775808, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'smallest', -9999999999999999999999999999.9999999999, -0.123456789012345678901234567890),
    (9007199254740993, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'not a double', 0.0000000001, 1e-30),
    (-9007199254740993, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', 'zeros', 100.5000000000, 1.000000000000000000000000000000),
    (0, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13', 'nothing', 0, 0.00);

INSERT INTO employees (id, employee_id, first_name, last_name, score, share_of_time, hired_on, starts_at, created_at, seen_at, skills, levels, profile, raw) VALUES
    (-1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a14', E'👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 𝔘𝔫𝔦', 'emoji',
     1.7976931348623157e308, 3.4028235e38, '9999-12-31', '23:59:59.999999', '9999-12-31 23:59:59.999999',
     '0001-01-02 00:00:00+00', '{}', '{}', '{}', '[]'),
    (-2, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a15', 'שלום العربية ' || U&'\202E' || 'right to left' || U&'\202C', 'direction',
     5e-324, 1e-45, '0001-01-01', '00:00', '0001-01-01 00:00:00', '2024-02-29 12:00:00.1+05:45',
     ARRAY['"', '\', E'\n', ',', '{}', 'NULL'], ARRAY[9223372036854775807],
     '{"deep": {"deeper": [{"deepest": [[[]]]}]}, "big": 9223372036854775807, "bigger": 123456789012345678901234567890}',
     '{"dup": 1, "decimal": 0.30000000000000004, "exp": 1.5E-7, "text": "\"\\\/\b\f\n\r\t\u20ac\ud83d\ude00"}'),
    (-3, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a16', E'e\u0301 n\u0303 Z\u0351\u036B\u0343\u036A', 'combining',
     '-0', '-0', '1900-02-28', '12:30:00.000001', '1969-12-31 23:59:59.999999', '1883-11-18 12:03:57+00',
     ARRAY['ａ', 'ﬁ', 'ß', 'İ', 'ſ'], NULL, '"only a string"', '"only a string"'),
    (-4, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a17', E'"quotes" ''single'' \\backslash\\ \\u0041 \\n', 'escapes',
     1e22, 1e10, NULL, NULL, NULL, NULL, NULL, NULL, '12345678901234567890.5', '-0.0'),
    (-5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a18', E'line one\nline two\r\nline three\ttab\u2028\u2029\u0085\u007f\u0001', 'lines',
     0.1, 0.1, NULL, NULL, NULL, NULL, NULL, NULL, 'true', 'false'),
    (-6, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a19', '   ', ' spaces ',
     1e-7, 16777217, NULL, NULL, NULL, NULL, NULL, NULL, '[1.10, 2.2e0, "1.10"]', '[1.10, 2.2e0, "1.10"]'),
    (-7, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a20', 'null', '2024-01-01T00:00:00Z',
     123456789.12345679, 0.3333333, NULL, NULL, NULL, NULL, NULL, NULL, '{"ключ": "значение", "": null, "a.b": {"c__d": 0}}', '0'),
    (-8, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a21', '', 'beyond numbers',
     'Infinity', 'NaN', 'infinity', '24:00', 'infinity', NULL, NULL, '{}', '[]', 'null');

-- A key of two columns; column names that are no identifiers.
CREATE TABLE devices (
    site smallint,
    serial text,
    "Größe in m²" numeric(12, 4),
    "a ""quoted"" name" text,
    memory bigint NOT NULL,
    encrypted boolean NOT NULL,
    uptime interval,
    address inet,
    last_seen timestamptz(3),
    battery numeric(5, 2)[],
    facts jsonb NOT NULL,
    PRIMARY KEY (site, serial)
);

INSERT INTO devices
SELECT
    n % 40 - 20,
    'SN-' || lpad(n::text, 12, '0'),
    (n % 1000) / 16.0,
    CASE WHEN n % 2 = 0 THEN repeat('\"', n % 5) END,
    n::bigint << 40,
    n % 2 = 0,
    n * interval '1 h 1.5 s',
    ('10.0.' || n / 256 || '.' || n % 256)::inet,
    timestamptz '2024-03-31 00:59:59.999+00' + n * interval '1 min',
    ARRAY[n % 100, 100.00],
    jsonb_build_object('os', CASE WHEN n % 3 = 0 THEN NULL ELSE '🐧 ' || n END, 'load', (n % 97) / 7.0)
FROM generate_series(1, 4000) AS n;

-- No key at all, and every row twice.
CREATE TABLE findings (
    title text,
    severity numeric(3, 1),
    cvss real,
    first_seen timestamp,
    "until" date,
    open boolean,
    occurrences bigint,
    evidence json
);

INSERT INTO findings
SELECT
    CASE WHEN n % 4 = 0 THEN NULL ELSE 'CVE-2024-' || n || E'\n"' || chr(128512 + n % 60) || '"' END,
    (n % 101) / 10.0,
    (n % 101) / 10.0,
    CASE WHEN n % 5 = 0 THEN NULL ELSE timestamp '2024-01-01' + n * interval '1 day 0.1 s' END,
    date '2024-01-01' + n,
    CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN true ELSE false END,
    9223372036854775807 - n,
    json_build_object('port', n, 'path', '/tmp/' || n, 'ratio', n / 3.0, 'none', NULL)
FROM generate_series(1, 2000) AS n, generate_series(1, 2);
