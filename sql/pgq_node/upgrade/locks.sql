-- The weak locks of the comments first: with them nobody but VACUUM and ANALYZE is in conflict.

lock table only pgq_node.node_location, only pgq_node.node_info, only pgq_node.local_state,
           only pgq_node.subscriber_info
    in share update exclusive mode;

-- Its OUT columns changed over the versions, and create or replace cannot change those.

drop function if exists pgq_node.get_node_info(text);
