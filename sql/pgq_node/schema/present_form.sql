-- Bring the tables to the present form.

select pgq_node.upgrade_schema();
