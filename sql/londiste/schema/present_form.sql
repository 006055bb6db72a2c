-- Bring tables, trigger and roles to the present form.

select londiste.upgrade_schema();
