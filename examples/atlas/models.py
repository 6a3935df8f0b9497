"""The database layer: the tables of the atlas.

The keys are the codes of the ISO standards. Of a reference, only the side with the foreign key is a relationship; the
other side is a query of a repository, which can have a limit.
"""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from layered_backend import Base, Timestamped


class Country(Timestamped, Base):
    """A country of ISO 3166-1, such as GB."""

    __tablename__ = "countries"

    alpha_2: Mapped[str] = mapped_column(String(2), primary_key=True)
    alpha_3: Mapped[str] = mapped_column(String(3), unique=True)
    numeric: Mapped[str] = mapped_column(String(3), unique=True)
    name: Mapped[str]
    official_name: Mapped[str | None]


class Subdivision(Timestamped, Base):
    """A part of a country, of ISO 3166-2, such as GB-ENG; it may lie in another one, as GB-LND does in GB-ENG."""

    __tablename__ = "subdivisions"

    code: Mapped[str] = mapped_column(String(6), primary_key=True)
    country_code: Mapped[str] = mapped_column(ForeignKey(Country.alpha_2), index=True)
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("subdivisions.code"), index=True)
    name: Mapped[str]
    type: Mapped[str]

    country: Mapped[Country] = relationship()
    parent: Mapped["Subdivision | None"] = relationship(remote_side=code)


class Currency(Base):
    """A currency of ISO 4217, such as EUR."""

    __tablename__ = "currencies"

    alpha_3: Mapped[str] = mapped_column(String(3), primary_key=True)
    numeric: Mapped[str] = mapped_column(String(3), unique=True)
    name: Mapped[str]


class Language(Base):
    """A language of ISO 639-3, such as cym, which is Welsh."""

    __tablename__ = "languages"
    __table_args__ = (Index(None, "name", "alpha_3"),)  # what the pages are sorted by, which a cursor looks up

    alpha_3: Mapped[str] = mapped_column(String(3), primary_key=True)
    alpha_2: Mapped[str | None] = mapped_column(String(2), unique=True)
    name: Mapped[str]
    scope: Mapped[str] = mapped_column(String(1))
    type: Mapped[str] = mapped_column(String(1))
