-- Its OUT columns changed over the versions, and create or replace cannot change those.

drop function if exists pgq_node.get_node_info(text);
