-- Accounts, sessions, API keys, wishlists, saved searches and the audit log.

-- The e-mail address as it is compared: in lower case.
CREATE TABLE accounts (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email               text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) <= 254),
    password_hash       text NOT NULL,
    role                text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'analyst', 'admin')),
    created_at          timestamptz NOT NULL,
    password_changed_at timestamptz NOT NULL,
    disabled_at         timestamptz
);

-- A session is what one sign-in began: a family of refresh tokens, of which only the newest is good.
CREATE TABLE sessions (
    id            uuid PRIMARY KEY,
    account_id    bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    began_at      timestamptz NOT NULL,
    refreshed_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    address       text NOT NULL,
    program       text NOT NULL,
    ended_at      timestamptz,
    ended_because text CHECK (ended_because IN
        ('signed_out', 'revoked', 'token_reused', 'password_changed', 'disabled', 'too_many')),
    CONSTRAINT sessions_ended_for_a_reason CHECK ((ended_at IS NULL) = (ended_because IS NULL))
);
CREATE INDEX sessions_by_account ON sessions (account_id, began_at);

-- Used tokens stay until they would have expired: who shows one again has stolen it, or was stolen from.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE api_keys (
    id          text PRIMARY KEY,
    account_id  bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name        text NOT NULL,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    used_at     timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX api_keys_by_account ON api_keys (account_id, created_at);

-- Failures by what is counted, as a hash: an address, or an e-mail address at an address.
CREATE TABLE sign_in_attempts (
    key       bytea PRIMARY KEY CHECK (length(key) = 32),
    failures  integer NOT NULL,
    failed_at timestamptz NOT NULL,
    open_at   timestamptz NOT NULL
);

CREATE TABLE wishes (
    account_id      bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    product_id      bigint NOT NULL REFERENCES products ON DELETE CASCADE,
    size            text,
    target_minor    bigint CHECK (target_minor > 0),
    target_currency text,
    note            text,
    added_at        timestamptz NOT NULL,
    changed_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, product_id),
    CONSTRAINT wishes_target_has_a_currency CHECK ((target_minor IS NULL) = (target_currency IS NULL))
);
CREATE INDEX wishes_by_product ON wishes (product_id);

CREATE TABLE saved_searches (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name       text NOT NULL,
    query      text NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    UNIQUE (account_id, name)
);

-- Never a password, a token or a key's secret; who is not known has no account.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    account_id bigint REFERENCES accounts ON DELETE CASCADE,
    address    text,
    session_id uuid,
    key_id     text,
    detail     text
);
CREATE INDEX audit_log_by_account ON audit_log (account_id, id);
CREATE INDEX audit_log_by_moment ON audit_log (at);
CREATE INDEX audit_log_by_key ON audit_log (key_id, at) WHERE key_id IS NOT NULL;
