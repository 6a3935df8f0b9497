"""Projections against their definition: what a schema reads is what it makes of the entities, loaded by plain SQLAlchemy."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    computed_field,
    create_model,
)
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    func,
    select,
    update,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    attribute_keyed_dict,
    class_mapper,
    column_keyed_dict,
    column_property,
    composite,
    foreign,
    keyfunc_mapping,
    mapped_column,
    relationship,
    remote,
    selectinload,
    synonym,
)

from layered_backend import Base as LibraryBase
from layered_backend import BaseRepository, CursorParams, IntegerPrimaryKey, PageParams, UnitOfWork, get_projection
from layered_backend.models import NAMING_CONVENTION
from layered_backend.projection import selection_of
from tests.databases import Shop

pytestmark = pytest.mark.filterwarnings("ignore:Multiple rows returned with uselist=False")  # SQLAlchemy's


class Base(DeclarativeBase):
    """As the library's, with a registry of its own: other tests have classes of the same names."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = LibraryBase.type_annotation_map
    __mapper_args__ = LibraryBase.__mapper_args__


class Tone(enum.Enum):
    LOUD = "loud"
    SOFT = "soft"


@dataclass(frozen=True)
class Span:
    start: int | None
    end: int | None


@dataclass(frozen=True)
class Size:
    width: int
    height: int


author_tags = Table(
    "oracle_author_tags",
    Base.metadata,
    Column("author_id", Integer, ForeignKey("oracle_authors.id"), primary_key=True),
    Column("tag_id", Integer, ForeignKey("oracle_tags.id"), primary_key=True),
    Column("position", Integer),
)
friendships = Table(
    "oracle_friends",
    Base.metadata,
    Column("row", String(10), primary_key=True),
    Column("one_id", Integer, ForeignKey("oracle_authors.id")),
    Column("other_id", Integer, ForeignKey("oracle_authors.id")),
)


class Label(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_tags"

    word: Mapped[str] = mapped_column(String(20), unique=True)

    @property
    def shouted(self) -> str:
        return self.word.upper()


class Address(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_addresses"

    author_id: Mapped[int] = mapped_column(ForeignKey("oracle_authors.id"), unique=True)
    city: Mapped[str]


class Note(Base):
    """Its key has two columns, one of which is the other end of a relationship."""

    __tablename__ = "oracle_notes"

    author_id: Mapped[int] = mapped_column(ForeignKey("oracle_authors.id"), primary_key=True)
    language: Mapped[str] = mapped_column(String(5), primary_key=True)
    tone: Mapped[Tone]
    text_: Mapped[str] = mapped_column("text")
    remarks: Mapped[list[Remark]] = relationship(
        primaryjoin=lambda: and_(
            Note.author_id == foreign(Remark.note_author_id), Note.language == foreign(Remark.note_language)
        ),
        order_by=lambda: Remark.id,
        viewonly=True,
    )


class Remark(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_remarks"

    note_author_id: Mapped[int]
    note_language: Mapped[str] = mapped_column(String(5))
    body: Mapped[str]


_by_columns: Any = column_keyed_dict  # whose annotation knows one column only
_by_function: Any = keyfunc_mapping  # whose annotation leaves the key open


class Author(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_authors"

    name: Mapped[str] = mapped_column(String(20))
    nick: Mapped[str | None]
    label: Mapped[str] = synonym("name")
    biography: Mapped[str] = mapped_column(default="none", deferred=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    mentor_id: Mapped[int | None] = mapped_column(ForeignKey("oracle_authors.id"))
    mentor: Mapped[Author | None] = relationship(back_populates="pupils", remote_side="Author.id")
    pupils: Mapped[list[Author]] = relationship(back_populates="mentor", order_by="Author.name.desc()")
    pupils_by_name: Mapped[dict[str, Author]] = relationship(
        viewonly=True, collection_class=attribute_keyed_dict("name")
    )
    tags: Mapped[list[Label]] = relationship(secondary=author_tags, order_by=author_tags.c.position.desc())
    tag_set: Mapped[set[Label]] = relationship(secondary=author_tags, viewonly=True)
    friends: Mapped[list[Author]] = relationship(
        secondary=friendships,
        primaryjoin=lambda: Author.id == friendships.c.one_id,
        secondaryjoin=lambda: Author.id == friendships.c.other_id,
        order_by=friendships.c.row.desc(),
        viewonly=True,
    )
    fans: Mapped[list[Author]] = relationship(
        secondary=friendships,
        primaryjoin=lambda: Author.id == friendships.c.other_id,
        secondaryjoin=lambda: Author.id == friendships.c.one_id,
        order_by=lambda: Author.name,
        viewonly=True,
    )
    address: Mapped[Address | None] = relationship(uselist=False)
    books: Mapped[list[Book]] = relationship(
        back_populates="author", order_by=lambda: [Book.pages.desc(), Book.id], foreign_keys=lambda: Book.author_id
    )
    namesakes: Mapped[list[Author]] = relationship(
        primaryjoin=lambda: and_(
            Author.name == foreign(remote(Author.nick)),
            remote(Author.id) > 0,  # no key at all
        ),
        order_by="Author.id",
        viewonly=True,
    )
    notes: Mapped[dict[str, Note]] = relationship(
        collection_class=attribute_keyed_dict("language"), order_by=Note.language
    )
    notes_by_tone: Mapped[dict[tuple[str, Tone], Note]] = relationship(
        collection_class=_by_columns((Note.language, Note.tone)),
        viewonly=True,
    )
    words: AssociationProxy[list[str]] = association_proxy("tags", "word")
    shouts: AssociationProxy[list[str]] = association_proxy("tags", "shouted")
    mentor_name: AssociationProxy[str | None] = association_proxy("mentor", "name")
    mentor_words: AssociationProxy[list[str]] = association_proxy("mentor", "words")
    texts: AssociationProxy[dict[str, str]] = association_proxy("notes", "text_")
    readers: AssociationProxy[list[Author]] = association_proxy("books", "editor")
    city: AssociationProxy[str] = association_proxy("address", "city")

    @hybrid_property
    def loud(self) -> str:
        return self.name.upper()

    @loud.inplace.expression
    @classmethod
    def _loud(cls) -> Any:
        return func.upper(cls.name)

    @hybrid_property
    def twice(self) -> int:
        return self.id * 2

    @hybrid_property
    def first_word(self) -> str:
        return self.words[0].lower()

    @hybrid_property
    def is_known(self) -> bool:
        return self.nick is not None

    @hybrid_property
    def town(self) -> Any:
        return Address.city  # which no join reads


class Book(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_books"

    title: Mapped[str] = mapped_column(String(20))
    pages: Mapped[int]
    author_id: Mapped[int] = mapped_column(ForeignKey("oracle_authors.id"))
    editor_id: Mapped[int | None] = mapped_column(ForeignKey("oracle_authors.id"))
    start: Mapped[int | None]
    end: Mapped[int | None]
    width: Mapped[int]
    height: Mapped[int]
    span: Mapped[Span | None] = composite(Span, "start", "end")
    size: Mapped[Size] = composite(Size, "width", "height")
    author: Mapped[Author] = relationship(back_populates="books", foreign_keys=author_id)
    editor: Mapped[Author | None] = relationship(foreign_keys=editor_id)
    author_city: AssociationProxy[str] = association_proxy("author", "city")


Author.book_count = column_property(
    select(func.count()).where(Book.author_id == Author.id).correlate_except(Book).scalar_subquery()
)
_ranks = func.row_number().over(partition_by=Book.author_id, order_by=Book.id.desc()).label("rank_")
_ranked = select(Book, _ranks).subquery()
Newest = aliased(Book, _ranked)
Author.newest = relationship(
    Newest, primaryjoin=and_(Author.id == Newest.author_id, _ranked.c.rank_ <= 2), order_by=Newest.id, viewonly=True
)
Author.last_book = relationship(
    Newest, primaryjoin=and_(Author.id == Newest.author_id, _ranked.c.rank_ == 1), uselist=False, viewonly=True
)
Author.longest = relationship(
    Book,
    primaryjoin=lambda: and_(Author.id == foreign(Book.author_id), Book.pages > 0),
    order_by=lambda: [Book.pages.desc(), Book.id],
    uselist=False,
    viewonly=True,
)
_other_tags = author_tags.alias()
_alike = (
    select(author_tags.c.author_id.label("one_id"), _other_tags.c.author_id.label("other_id"))
    .where(author_tags.c.tag_id == _other_tags.c.tag_id)
    .distinct()
    .subquery("alike")
)
Author.tagged_alike = relationship(
    Author,
    secondary=lambda: _alike,
    primaryjoin=lambda: Author.id == _alike.c.one_id,
    secondaryjoin=lambda: foreign(_alike.c.other_id) == Author.id,
    order_by=lambda: Author.id,
    viewonly=True,
)


class Pet(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_pets"

    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str]
    owner_id: Mapped[int] = mapped_column(ForeignKey("oracle_authors.id"))
    owner: Mapped[Author] = relationship(back_populates="pets", foreign_keys=owner_id)
    fleas: Mapped[list[Flea]] = relationship(order_by="Flea.id")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "pet"}  # noqa: RUF012  # SQLAlchemy's


class Cat(Pet):
    lives: Mapped[int | None]
    keeper_id: Mapped[int | None] = mapped_column(ForeignKey("oracle_authors.id"))
    keeper: Mapped[Author | None] = relationship(foreign_keys=keeper_id)

    @hybrid_property
    def left(self) -> Any:
        lives: Any = self.lives
        return 9 - lives

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Dog(Pet):
    __tablename__ = "oracle_dogs"

    id: Mapped[int] = mapped_column(ForeignKey("oracle_pets.id"), primary_key=True)
    bark: Mapped[str]
    enemy_id: Mapped[int | None] = mapped_column(ForeignKey("oracle_pets.id"))
    enemy: Mapped[Pet | None] = relationship(foreign_keys=enemy_id)
    __mapper_args__ = {"polymorphic_identity": "dog", "inherit_condition": id == Pet.id}  # noqa: A003, RUF012


class Flea(IntegerPrimaryKey, Base):
    __tablename__ = "oracle_fleas"

    pet_id: Mapped[int] = mapped_column(ForeignKey("oracle_pets.id"))
    dog: Mapped[Dog | None] = relationship(primaryjoin=lambda: foreign(Flea.pet_id) == Dog.id, viewonly=True)
    pet: Mapped[Pet] = relationship(back_populates="fleas")


Author.pets = relationship(Pet, order_by=Pet.id, back_populates="owner", foreign_keys=Pet.owner_id)
Author.cats = relationship(Cat, order_by=Cat.id, foreign_keys=Pet.owner_id, viewonly=True)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Named(BaseModel):
    name: str


class WordRead(BaseModel):
    model_config = ConfigDict(frozen=True)
    word: str


class TitleRead(BaseModel):
    title: str


class NoteRead(BaseModel):
    tone: Tone
    text_: str
    remarks: list[RemarkRead]


class RemarkRead(BaseModel):
    body: str


class SizeRead(BaseModel):
    width: int
    height: int


class BookRead(BaseModel):
    title: str
    span: Span | None
    size: SizeRead
    author: AuthorInBook
    editor: Named | None
    author_city: str | None


class AuthorInBook(BaseModel):
    name: str
    mentor: Named | None
    tags: list[WordRead]
    address: AddressRead | None


class AddressRead(BaseModel):
    city: str


class Columns(BaseModel):
    label: str
    biography: str
    details: dict[str, Any]
    loud: str
    twice: int
    book_count: int

    @computed_field
    def length(self) -> int:
        return len(self.label)


class Deep(BaseModel):
    name: str
    pupils: list[PupilRead]


class PupilRead(BaseModel):
    mentor: Named
    books: tuple[BookRead, ...]
    pupils: list[Named]


class Collections(BaseModel):
    words: list[str]
    texts: dict[str, str]
    tag_set: frozenset[WordRead]
    notes: dict[str, NoteRead]
    notes_by_tone: dict[tuple[str, Tone], NoteRead]
    pupils_by_name: dict[str, Named]
    readers: list[Named | None]


class Custom(BaseModel):
    newest: list[TitleRead]
    last_book: TitleRead | None
    longest: TitleRead | None
    friends: list[Named]
    fans: list[Named]
    namesakes: list[Named]
    tagged_alike: list[Named]
    tags: list[WordRead]
    address: AddressRead | None


class Flattened(BaseModel):
    mentor_name: str | None
    mentor_words: list[str] | None
    city: str | None


class ByAlias(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    title: str = Field(alias="name")
    by_choice: str = Field(validation_alias=AliasChoices("nothing", "label", "name"))
    by_own_name: int = Field(alias="id")
    id: int
    mentor_title: str = Field("nobody", validation_alias=AliasPath("mentor", "name"))
    mentor: MentorRead | None = None
    first: str | None = Field(None, validation_alias=AliasPath("tags", 0, "word"))
    last: str | None = Field(None, validation_alias=AliasChoices("nowhere", AliasPath("tags", -1, "word")))
    colour: str = Field("none", validation_alias=AliasPath("details", "colour"))
    twice: int = Field(alias="thrice")


class MentorRead(BaseModel):
    twice: int = Field(validation_alias="twice")


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)

    name: str = Field(alias="nick")
    id: int = Field(validation_alias=AliasPath("mentor", "id"))


class FleaRead(BaseModel):
    id: int


class CatRead(Strict):
    kind: Literal["cat"]
    name: str
    lives: int | None
    left: int
    keeper: Named | None
    fleas: list[FleaRead]


class DogRead(Strict):
    kind: Literal["dog"]
    name: str
    bark: str
    enemy: Annotated[AnyPet, Field(discriminator="kind")] | None
    owner: Named


class OtherPet(Strict):
    kind: Literal["pet"]
    id: int


class EnemyCat(BaseModel):
    kind: Literal["cat"]
    lives: int | None = None


class EnemyDog(BaseModel):
    kind: Literal["dog"]
    bark: str


class EnemyPet(BaseModel):
    kind: Literal["pet"]


AnyPet = EnemyCat | EnemyDog | EnemyPet
PetRead = RootModel[Annotated[CatRead | DogRead | OtherPet, Field(discriminator="kind")]]


def _kind_of(pet: Any) -> str:
    return str(pet.kind)


class SmartCat(BaseModel):
    lives: int | None


class SmartDog(BaseModel):
    bark: str


class SmartPet(BaseModel):
    name: str


class Owner(BaseModel):
    pets: list[Annotated[CatRead | DogRead | OtherPet, Field(discriminator="kind")]]
    cats: list[CatRead]


class SmartOwner(BaseModel):
    pets: list[SmartPet | SmartDog | SmartCat]


class CallableOwner(BaseModel):
    pets: list[
        Annotated[
            Annotated[CatRead, Tag("cat")] | Annotated[DogRead, Tag("dog")] | Annotated[OtherPet, Tag("pet")],
            Discriminator(_kind_of),
        ]
    ]


class FleaOfDog(BaseModel):
    id: int
    dog: BarkRead | None
    pet: PetRead


class BarkRead(BaseModel):
    name: str
    bark: str


class CatInHouse(BaseModel):
    lives: int | None
    owner: Named


SCHEMAS: Sequence[tuple[type[Any], type[BaseModel]]] = [
    (Author, Columns), (Author, Deep), (Author, Collections), (Author, Custom), (Author, Flattened), (Author, ByAlias),
    (Author, Owner), (Author, SmartOwner), (Author, CallableOwner), (Book, BookRead), (Pet, PetRead),
    (Flea, FleaOfDog), (Cat, CatInHouse), (Dog, DogRead), (Pet, RootModel[SmartCat | SmartDog | SmartPet]),
    *([(Author, ByName)] if "validate_by_name" in ConfigDict.__annotations__ else []),  # from Pydantic 2.11 on
]  # fmt: skip


async def _library(shop: Shop) -> AsyncGenerator[Shop]:
    await shop.database.create_all(Base.metadata)
    async with UnitOfWork(shop.database) as uow:
        await uow.session.run_sync(_fill)
    yield shop
    await shop.run(lambda uow: uow.session.run_sync(_drop))


@pytest.fixture
async def library(async_shop: Shop) -> AsyncGenerator[Shop]:
    async for shop in _library(async_shop):
        yield shop


@pytest.fixture
async def sqlite_library(sqlite_shop: Shop) -> AsyncGenerator[Shop]:
    async for shop in _library(sqlite_shop):
        yield shop


def _drop(session: Session) -> None:
    for table in (friendships, author_tags):
        session.execute(table.delete())
    session.execute(update(Author).values(mentor_id=None))
    Base.metadata.drop_all(session.connection())


def _fill(session: Session) -> None:
    words = [Label(word=word) for word in ("old", "tall", "shy")]
    session.add_all(words)
    session.flush()
    authors: list[Author] = []
    for number, name in enumerate(("ann", "bob", "cid", "dee")):
        author = Author(name=name, nick=("bob" if number % 2 else None), details={"colour": name} if number else {})
        author.mentor = authors[(number - 1) // 2] if number else None
        session.add(author)
        session.flush()
        authors.append(author)
        for place, word in enumerate(words[:number]):
            session.execute(
                author_tags.insert(),
                {"author_id": author.id, "tag_id": word.id, "position": words[(place + number) % 3].id},
            )
        session.add_all(
            Note(
                author_id=author.id,
                language=language,
                tone=Tone.LOUD if number else Tone.SOFT,
                text_=f"{name} {language}",
            )
            for language in ("de", "en", "fr")[:number]
        )
        session.flush()
        session.add_all(Remark(note_author_id=author.id, note_language="de", body=f"{n}") for n in range(number))
        if number != 1:
            session.add(Address(author_id=author.id, city=f"town {number}"))
        for n in range(number + 1):
            spans = {"start": n, "end": 9} if n else {}
            session.add(
                Book(
                    title=f"{name} {n}", pages=n % 2, author_id=author.id, width=n, height=1,
                    editor_id=authors[0].id if n else None, **spans,
                )
            )  # fmt: skip
        cat, dog = (
            Cat(name="tom", lives=number, owner=author, keeper=author.mentor),
            Dog(name="rex", bark="wow", owner=author),
        )
        session.add_all([cat, dog])
        session.flush()
        if number:
            session.add_all([Pet(name="bug", owner=author), Flea(pet_id=cat.id), Flea(pet_id=dog.id)])
        dog.enemy_id = (None, cat.id, dog.id, session.scalars(select(Pet.id).order_by(Pet.id.desc())).first())[number]
    pairs = ((0, 1), (0, 2), (1, 0), (2, 2), (0, 3))
    for number, (one, other) in enumerate(pairs):
        session.execute(
            friendships.insert(),
            {"row": f"{(number * 3) % 5}", "one_id": authors[one].id, "other_id": authors[other].id},
        )
    session.flush()


def _entities(connection: Connection, model: type[Any], schema: type[BaseModel], order_by: Any) -> list[Any]:
    """Return the schemas made of entities that SQLAlchemy loads."""
    names = [relationship.key for relationship in class_mapper(model).relationships]
    with Session(connection) as session:
        loading = [selectinload(getattr(model, name)) for name in names]
        entities = session.scalars(select(model).options(*loading).order_by(order_by)).all()
        return [schema.model_validate(entity, from_attributes=True) for entity in entities]


@pytest.mark.parametrize(("model", "schema"), SCHEMAS, ids=lambda each: each.__name__.split("[")[0])
async def test_a_schema_reads_what_it_makes_of_the_entities(library: Shop, model: type[Any], schema: type[Any]) -> None:
    async with UnitOfWork(library.database, read_only=True) as uow:
        connection = await uow.session.connection()
        expected = await connection.run_sync(_entities, model, schema, model.id.desc())
        rows = uow.repository(BaseRepository[model]).project(schema)  # type: ignore[valid-type]
        keys = await uow.session.run_sync(lambda s: s.scalars(select(model.id).order_by(model.id.desc())).all())

        assert len(expected) > 3
        assert list(await rows.list(order_by=model.id.desc())) == expected
        assert [row async for row in rows.stream(order_by=model.id.desc(), batch_size=3)] == expected
        page = await rows.page(PageParams(page=2, size=2), order_by=model.id.desc())
        assert (list(page.items), page.total) == (expected[2:4], len(expected))
        first = await rows.cursor_page(CursorParams(size=2), order_by=model.id.desc())
        assert list(first.items) == expected[:2]
        assert await rows.get(keys[1]) == expected[1]


class NamedCat(BaseModel):
    name: str
    lives: int | None


class Unfitting(BaseModel):
    kind: Literal["bird"]
    wings: int


async def test_a_union_is_a_schema_of_its_own(sqlite_library: Shop) -> None:
    union: Any = CatRead | DogRead | OtherPet
    async with UnitOfWork(sqlite_library.database, read_only=True) as uow:
        pets = uow.repository(BaseRepository[Pet])
        roots = await pets.project(PetRead).list(Pet.name != "bug")
        assert await pets.project(union).list(Pet.name != "bug") == [pet.root for pet in roots]


UNREADABLE: Sequence[tuple[type[Any], str, Any, Any, str]] = [
    (Author, "titel", str, ..., "has no column of that name"),
    (Author, "titel", str, "a default", "has no column of that name"),
    (
        Author,
        "tags",
        list[str],
        ...,
        "relationship tags has several rows of Label, which need a schema; .*association_proxy",
    ),
    (Author, "tags", WordRead, ..., "relationship tags has several rows; annotate the field as a list"),
    (Author, "tags", dict[str, WordRead], ..., "Author.tags is a list, and no dict"),
    (Author, "words", dict[str, str], ..., "Author.tags is a list, and no dict"),
    (Author, "words", str, ..., "annotate the field as a list"),
    (Author, "mentor", list[Named], ..., "relationship mentor has one row of Author, which need a schema"),
    (Author, "mentor", str, ..., "relationship mentor has one row of Author, which need a schema"),
    (Author, "shouts", list[str], ..., "Label has no column of that name"),
    (Author, "first_word", str, ..., "hybrid_property Author.first_word is no SQL expression; give it one with"),
    (Author, "is_known", bool, ..., "hybrid_property Author.is_known is no SQL expression; give it one with"),
    (Author, "town", str, ..., "hybrid_property Author.town reads a table that is not joined"),
    (Author, "word", str, Field(validation_alias=AliasPath("tags", 0)), "tags has several rows of Label, which need"),
    (Author, "word", str, Field(validation_alias=AliasPath("tags", "word")), "has no column of that name"),
    (Author, "word", str, Field(validation_alias=AliasPath("nothing", 0)), "has no column of that name"),
    (Author, "newest", list[TitleRead | Named], ..., "a relationship to an alias, whose rows are of one class"),
    (Author, "by_age", dict[str, Named], ..., "the key of Author.by_age is computed in Python"),
]


def _lowered(author: Author) -> str:
    return author.name.lower()


Author.by_age = relationship(
    Author,
    primaryjoin=lambda: Author.id == foreign(remote(Author.mentor_id)),
    viewonly=True,
    collection_class=_by_function(_lowered),
)


@pytest.mark.parametrize(("model", "name", "annotation", "default", "message"), UNREADABLE)
def test_what_cannot_be_read_is_refused_by_name_when_the_projection_is_built(
    model: type[Any], name: str, annotation: Any, default: Any, message: str
) -> None:
    create: Any = create_model
    schema = create("Wrong", **{name: (annotation, default)})

    with pytest.raises(TypeError, match=rf"Wrong\.{name} cannot be read: .*{message}"):
        get_projection(BaseRepository[model], schema)  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (RootModel[SmartCat | NamedCat], "no schema of SmartCat . NamedCat can be read from Dog"),
        (RootModel[SmartCat | Unfitting | SmartPet], "Unfitting.wings cannot be read: Pet has no column of that name"),
        (RootModel[list[SmartPet]], "is no schema for a row"),
    ],
)
def test_a_union_needs_a_schema_for_each_class_and_a_class_for_each_schema(schema: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        get_projection(BaseRepository[Pet], schema)


def test_two_fields_with_one_alias_and_two_meanings_are_refused() -> None:
    class Twofold(BaseModel):
        pupils_by_name: dict[str, Named]
        pupils: list[Named] = Field(validation_alias="pupils_by_name")

    with pytest.raises(TypeError, match=r"Twofold\.pupils cannot be read: another field has the same alias"):
        get_projection(BaseRepository[Author], Twofold)


@pytest.mark.parametrize(("model", "schema"), SCHEMAS, ids=lambda each: each.__name__.split("[")[0])
async def test_entities_with_the_loader_options_of_a_schema_have_all_that_it_takes(
    sqlite_library: Shop, model: type[Any], schema: type[Any]
) -> None:
    def loaded(connection: Connection) -> list[Any]:
        with Session(connection) as session:
            entities = session.scalars(select(model).options(*selection_of(model, schema).loader_options())).all()
            session.expunge_all()
        return [schema.model_validate(entity, from_attributes=True) for entity in entities]

    async with UnitOfWork(sqlite_library.database, read_only=True) as uow:
        expected = await uow.repository(BaseRepository[model]).project(schema).list()  # type: ignore[valid-type]
        assert await (await uow.session.connection()).run_sync(loaded) == expected
