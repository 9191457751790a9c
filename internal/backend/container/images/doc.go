// Package images is the images that stand in for the official ones where no registry can be reached: PostgreSQL, MariaDB and OpenSSH on a
// Debian of our own making. There is no code in it, only build.sh with a folder for each image, and their tests; README.md says what is in
// them. "make images" builds them.
package images
