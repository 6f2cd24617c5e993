"""The vendor boundary: all code that knows the protocol of Bitrix24. It does not know our rows or settings."""
