"""From what the accounts know to what the API answers."""

from uuid import UUID

from skatestock.accounts import model
from skatestock.accounts.accounts import SignedIn
from skatestock.api import account_schemas, wish_schemas
from skatestock.api.answers import to_item, to_price
from skatestock.catalog.views import ProductSummary
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money


def to_tokens(signed_in: SignedIn) -> account_schemas.Tokens:
    """Answer with the tokens of a session."""
    return account_schemas.Tokens(
        access_token=signed_in.access_token,
        token_type="Bearer",  # noqa: S106 - the word that goes before a token
        expires_in=signed_in.life_seconds,
        refresh_token=signed_in.refresh_token,
        role=signed_in.role,
    )


def to_me(account: model.Account, caller: model.Caller) -> account_schemas.Me:
    """Answer with who somebody is, and with which key they came."""
    scopes = tuple(scope for scope in model.SCOPES if scope in caller.scopes)
    return account_schemas.Me(
        email=account.email,
        role=account.role,
        created_at=account.created_at,
        password_changed_at=account.password_changed_at,
        key_id=caller.key_id,
        scopes=None if caller.key_id is None else scopes,
    )


def to_key(key: model.ApiKey) -> account_schemas.KeyItem:
    """Answer with an API key."""
    fields = key._asdict()
    del fields["revoked_at"]
    return account_schemas.KeyItem(**fields)


def to_exported_key(key: model.ApiKey) -> account_schemas.ExportedKey:
    """Answer with an API key that may have been revoked."""
    return account_schemas.ExportedKey(**key._asdict())


def to_session(session: model.Session, current_id: UUID | None) -> account_schemas.SessionItem:
    """Answer with a session that is open."""
    fields = session._asdict()
    del fields["ended_at"], fields["ended_because"]
    return account_schemas.SessionItem(**fields, current=session.id == current_id)


def to_exported_session(session: model.Session, current_id: UUID | None) -> account_schemas.ExportedSession:
    """Answer with a session that may have ended."""
    return account_schemas.ExportedSession(**session._asdict(), current=session.id == current_id)


def to_audit(entry: model.AuditEntry) -> account_schemas.AuditItem:
    """Answer with a line of the audit log."""
    fields = entry._asdict()
    del fields["account_id"]
    return account_schemas.AuditItem(**fields)


def to_exported_wish(wish: model.Wish) -> wish_schemas.ExportedWish:
    """Answer with an entry of a wishlist, without what it costs now."""
    return wish_schemas.ExportedWish(
        product_id=wish.product_id,
        size=wish.size,
        target=to_price(_find_target(wish)),
        note=wish.note,
        added_at=wish.added_at,
        changed_at=wish.changed_at,
    )


def to_wish(wish: model.Wish, product: ProductSummary | None) -> wish_schemas.Wish:
    """Answer with an entry of a wishlist."""
    exported = to_exported_wish(wish)
    return wish_schemas.Wish(
        **{name: getattr(exported, name) for name in exported.__struct_fields__},
        product=None if product is None else to_item(product),
        target_met=_is_met(_find_target(wish), product),
    )


def to_search(search: model.SavedSearch) -> wish_schemas.SavedSearch:
    """Answer with a saved search."""
    address = f"/products?{search.query}" if search.query else "/products"
    return wish_schemas.SavedSearch(**search._asdict(), address=address)


def _find_target(wish: model.Wish) -> Money | None:
    if wish.target_minor is None or wish.target_currency is None:
        return None
    return Money(wish.target_minor, wish.target_currency)


def _is_met(target: Money | None, product: ProductSummary | None) -> bool | None:
    """Tell whether the lowest price in stock is at the target; None where the two cannot be compared."""
    if target is None or product is None:
        return None
    if product.price is None or product.availability is not Availability.IN_STOCK:
        return False
    if product.price.currency != target.currency:
        return None
    return product.price.minor <= target.minor
