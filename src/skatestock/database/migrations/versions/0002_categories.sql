-- The categories of a skate shop. The ids are fixed, so that data moves between databases unchanged; a new
-- category takes the next free id in a migration of its own.

INSERT INTO categories (id, slug, name) VALUES
    (1, 'decks', 'Decks'),
    (2, 'completes', 'Complete skateboards'),
    (3, 'trucks', 'Trucks'),
    (4, 'wheels', 'Wheels'),
    (5, 'bearings', 'Bearings'),
    (6, 'hardware', 'Hardware'),
    (7, 'grip-tape', 'Grip tape'),
    (8, 'shoes', 'Shoes'),
    (9, 'tees', 'T-shirts'),
    (10, 'shirts', 'Shirts'),
    (11, 'sweatshirts', 'Sweatshirts'),
    (12, 'jackets', 'Jackets'),
    (13, 'pants', 'Pants'),
    (14, 'shorts', 'Shorts'),
    (15, 'hats', 'Hats'),
    (16, 'beanies', 'Beanies'),
    (17, 'socks', 'Socks'),
    (18, 'bags', 'Bags'),
    (19, 'accessories', 'Accessories'),
    (20, 'protective', 'Protective gear'),
    (21, 'media', 'Books and media'),
    (22, 'gift-cards', 'Gift cards'),
    (23, 'other', 'Other');
