"""The vendor boundary: everything that knows Bitrix24's wire, and nothing that knows our rows or settings."""
