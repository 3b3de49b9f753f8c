"""PostgreSQL: refuses root, a process for each task, System V shared memory, a session that stays open."""

from integration.pods import Container
from integration.zoo.program import Program, run

AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
SERVER = (
    *AS_POSTGRES,
    "/usr/lib/postgresql/17/bin/postgres",
    "-D",
    "/var/lib/postgresql/17/main",
    "-c",
    "config_file=/etc/postgresql/17/main/postgresql.conf",
    "-c",
    "listen_addresses=*",
)


def healthy(container: Container) -> None:
    run(container, "pg_isready", "--host=/run/postgresql")
    assert ask(container, "select pg_is_in_recovery()") == "f"
    ask(container, "checkpoint")
    processes = ask(container, "select count(*) from pg_stat_activity where backend_type <> 'client backend'")
    assert int(processes) >= 5, processes


def plant(container: Container, token: str) -> None:
    ask(container, "create table if not exists zoo (token text primary key, at timestamptz default now())")
    ask(container, f"insert into zoo (token) values ('{token}')")
    ask(container, f"select pg_notify('zoo', '{token}')")


def found(container: Container, token: str) -> bool:
    return ask(container, f"select token from zoo where token = '{token}'") == token


def ask(container: Container, question: str) -> str:
    return run(container, *AS_POSTGRES, "psql", "--no-psqlrc", "--quiet", "-Atc", question)


PROGRAM = Program(
    name="postgresql",
    packages=("postgresql",),
    command=("sh", "-c", f"install -d -o postgres -g postgres /run/postgresql && exec {' '.join(SERVER)}"),
    state="a row",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
)
