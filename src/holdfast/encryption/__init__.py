"""Payloads encrypted per subject, so that who drops a subject's key has erased what was said of it.

A **subject** is (tenant, key); of an event without a key, its tenant. Each has a data key of its own in the table
``subject_keys``, wrapped by a **master key** that the store never sees: a `KeyProvider` has it, here or in a service.

It all happens at the edges. `holdfast.encryption.store.EncryptedStore` stands round a store: what goes in is encrypted
(`codec`), what is read is decrypted, one look-up for all subjects of a page that are not known yet (`keyring`). Between
the two, the engine handles JSON text as ever. `holdfast.encryption.spool.EncryptedSpool` stands round a spool, which must
work while the store, and with it the keys of subjects, is away. Both are in place only where a bus was given a provider.

``cryptography`` is imported when a provider is made (extra ``encryption``).
"""

from holdfast.encryption.providers import KeyProvider, MasterKeys, WrappedKey, new_master_key

__all__ = ["KeyProvider", "MasterKeys", "WrappedKey", "new_master_key"]
