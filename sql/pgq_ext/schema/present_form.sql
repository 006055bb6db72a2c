-- Bring the tables to the present form.

select pgq_ext.upgrade_schema();
