-- The locks that the comments take in the end, before anything else is done: who has to be waited
-- for is waited for here. Reading and writing goes on beside them; VACUUM and ANALYZE wait.

lock table only pgq_node.node_location, only pgq_node.node_info, only pgq_node.local_state,
           only pgq_node.subscriber_info
    in share update exclusive mode;

-- Its OUT columns changed over the versions, and create or replace cannot change those.

drop function if exists pgq_node.get_node_info(text);
