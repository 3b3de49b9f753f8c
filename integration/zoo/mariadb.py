"""MariaDB: kernel AIO in the place of io_uring, which is withheld; a thread for each task."""

from integration.pods import Container
from integration.zoo.program import Program, run, shell


def healthy(container: Container) -> None:
    assert "alive" in run(container, "mariadb-admin", "ping")
    said = run(container, "mariadb-check", "--check", "mysql")
    assert "error" not in said.lower(), said
    assert ask(container, "select @@innodb_use_native_aio") == "1"


def plant(container: Container, token: str) -> None:
    ask(
        container,
        "create database if not exists zoo; create table if not exists zoo.tokens (token varchar(64))",
    )
    ask(container, f"insert into zoo.tokens values ('{token}')")


def found(container: Container, token: str) -> bool:
    return ask(container, f"select token from zoo.tokens where token = '{token}'") == token


def ask(container: Container, question: str) -> str:
    return shell(container, 'mariadb -Ne "$1"', question)


PROGRAM = Program(
    name="mariadb",
    packages=("mariadb-server", "mariadb-client"),
    command=(
        "sh",
        "-c",
        "install -d -o mysql -g mysql /run/mysqld"
        " && exec setpriv --reuid=mysql --regid=mysql --init-groups mariadbd --bind-address=0.0.0.0",
    ),
    state="a row",
    healthy=healthy,
    plant=plant,
    found=found,
    slow=True,
)
