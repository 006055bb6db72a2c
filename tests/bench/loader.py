"""Apply row changes one by one, as londiste's applier does: the contestant of `pgq load`.

Usage: loader.py INI STATEMENTS   (each execute carries so many statements; londiste joins up to 200)
"""

import sys

import pgq
import skytools

STATEMENTS = int(sys.argv.pop())
BUILDERS = {'I': skytools.mk_insert_sql, 'U': skytools.mk_update_sql, 'D': skytools.mk_delete_sql}


class Loader(pgq.SerialConsumer):
    def process_remote_batch(self, src_db, tick_id, ev_list, dst_db):
        curs = dst_db.cursor()
        pending = []
        for ev in ev_list:
            operation, key = ev.ev_type.split(':')
            row = skytools.db_urldecode(ev.ev_data)
            pending.append(BUILDERS[operation](row, ev.ev_extra1, key.split(',')))
            if len(pending) >= STATEMENTS:
                curs.execute(';\n'.join(pending))
                pending = []
        if pending:
            curs.execute(';\n'.join(pending))


Loader('loader', 'src_db', 'dst_db', sys.argv[1:]).start()
