/*
 * A JIT provider that compiles nothing and says in the server log what it was asked to compile: an expression of which
 * statement. It needs no LLVM, which a server may lack; then nothing is ever compiled, and a test of that could not fail.
 */
#include "postgres.h"

#include "fmgr.h"
#include "jit/jit.h"
#include "nodes/execnodes.h"
#include "tcop/tcopprot.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_jit_provider_init(JitProviderCallbacks *callbacks);

static bool compile_expr(ExprState *state)
{
    const char *text = state->parent->state->es_sourceText;
    /* What the client sent, and not what a function in it runs; a background worker has no client. */
    bool is_clients = text && debug_query_string && strcmp(text, debug_query_string) == 0;

    ereport(LOG,
            errmsg("JIT of %s statement: %s", is_clients ? "a client's" : "an inner", text ? text : "?"),
            errhidestmt(true), errhidecontext(true));
    return false;
}

static void reset_after_error(void)
{
}

static void release_context(JitContext *context)
{
    (void) context;
}

void _PG_jit_provider_init(JitProviderCallbacks *callbacks)
{
    callbacks->reset_after_error = reset_after_error;
    callbacks->release_context = release_context;
    callbacks->compile_expr = compile_expr;
}
